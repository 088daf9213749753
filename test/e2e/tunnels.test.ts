import { describe, expect, test } from 'vitest'
import { openListener as client } from '../resources/listener.ts'
import { lastingPort } from '../resources/ports.ts'
import { openServer, type TestServer } from '../resources/servers.ts'
import { until } from '../resources/until.ts'
import { type Fleet, openFleet } from './fleet.ts'

interface ConnectionItem {
  readonly id: string
  readonly agent: string
}

async function openPair({ straight = false } = {}) {
  const held = new AsyncDisposableStack()
  const target = held.use(await openServer(socket => socket.pipe(socket)))
  const fleet = held.use(await openFleet())
  const controller = await fleet.startController()
  const a = await fleet.startAgent('a')
  const place = `127.0.0.1:${await lastingPort()}`
  const b = await fleet.startAgent('b', straight ? { args: ['--tunnel-listen', place] } : {})
  return { target, fleet, controller, a, b, [Symbol.asyncDispose]: () => held.disposeAsync() }
}

async function createWeb(fleet: Fleet, target: TestServer): Promise<number> {
  const listen = 'TCP4-LISTEN:0,bind=127.0.0.1,fork'
  const to = `@b/TCP4:127.0.0.1:${target.port}`
  await fleet.cat(['create', 'web', '--on', 'a', '--lease', '5s', listen, to, '--wait'])
  const { items } = await fleet.json(['list'])
  return Number(items[0].status.agents[0].local[0].split(':').at(-1))
}

async function speaking(port: number) {
  const user = await client(port)
  user.socket.write('hello')
  await until('the relay carries', () => user.heard() === 'hello')
  return user
}

const connectionsOf = async (fleet: Fleet): Promise<ConnectionItem[]> =>
  (await fleet.json(['connections'])).items

const agentsOf = (items: { readonly agent: string }[]) => items.map(({ agent }) => agent).sort()

for (const straight of [false, true]) {
  const way = straight ? 'straight' : 'through the controller'
  describe(`a relay to an address on another host, ${way}`, () => {
    test('is listed on both ends, and a revoke cuts it on both, with their receipts', async () => {
      await using pair = await openPair({ straight })
      const { fleet, target, b } = pair
      const port = await createWeb(fleet, target)
      using user = await speaking(port)
      await until('both ends list it', async () => (await connectionsOf(fleet)).length === 2)
      expect(agentsOf(await connectionsOf(fleet))).toEqual(['a', 'b'])
      await b.says(new RegExp(`"event":"tunnel.answered".*"way":"${straight ? 'straight' : 'controller'}"`))

      const { receipts } = await fleet.json(['revoke', 'relay/web'])
      expect(agentsOf(receipts)).toEqual(['a', 'b'])
      for (const receipt of receipts) expect(receipt).toMatchObject({ verdict: 'cut' })
      // How many each says it has cut is left open: the withdrawal of the tunnel may be quicker than the orders.
      await until('the user is cut', user.closed)
      await until('the target is left', () => target.sockets.size === 0)
      expect(await connectionsOf(fleet)).toEqual([])
    }, 60_000)

    test('is cut at both ends when its answering agent is killed or its connection revoked', async () => {
      await using pair = await openPair({ straight })
      const { fleet, target, b } = pair
      const port = await createWeb(fleet, target)
      using first = await speaking(port)
      using second = await speaking(port)
      const items = await until('all are listed', async () => {
        const found = await connectionsOf(fleet)
        return found.length === 4 ? found : undefined
      })
      await fleet.cat(['revoke', `conn/${items.find(({ agent }) => agent === 'b')?.id}`])
      await until('one is cut at both ends', async () => {
        return target.sockets.size === 1 && first.closed() !== second.closed()
      })
      b.kill('SIGKILL')
      await until('the other is cut', () => first.closed() && second.closed())
    }, 60_000)
  })
}

test('an answering agent that was stopped for longer than its lease passes not one byte on', async () => {
  let carried = 0
  await using target = await openServer(socket => {
    socket.resume().on('data', chunk => {
      carried += chunk.length
      socket.write(chunk)
    })
  })
  await using pair = await openPair()
  const { fleet, b } = pair
  const port = await createWeb(fleet, target)
  using user = await speaking(port)
  b.kill('SIGSTOP')
  const deadline = performance.now() + 6_000
  user.socket.write('while it is stopped')
  await until('more time has passed than the lease has', () => performance.now() > deadline)
  b.kill('SIGCONT')
  await until('it is cut', () => user.closed())
  await until('the target is left', () => target.sockets.size === 0)
  expect(carried).toBe('hello'.length)
}, 60_000)

test('a straight tunnel outlives its controller, and a revoke after that cuts it', async () => {
  await using pair = await openPair({ straight: true })
  const { fleet, target, controller } = pair
  const port = await createWeb(fleet, target)
  using user = await speaking(port)
  controller.kill('SIGKILL')
  await controller.ended
  await fleet.startController()
  await until('both agents are back', async () => (await connectionsOf(fleet)).length === 2)
  user.socket.write(' again')
  await until('it carries', () => user.heard() === 'hello again')
  const { receipts } = await fleet.json(['revoke', 'relay/web'])
  expect(agentsOf(receipts)).toEqual(['a', 'b'])
  await until('the user is cut', user.closed)
  await until('the target is left', () => target.sockets.size === 0)
}, 60_000)

for (const end of ['a', 'b']) {
  test(`a revoke of agent ${end} cuts the tunnels that it has part in`, async () => {
    await using pair = await openPair({ straight: true })
    const { fleet, target } = pair
    const port = await createWeb(fleet, target)
    using user = await speaking(port)
    const { receipts } = await fleet.json(['revoke', `agent/${end}`])
    expect(agentsOf(receipts)).toEqual(['a', 'b'])
    await until('the user is cut', user.closed)
    await until('the target is left', () => target.sockets.size === 0)
  }, 60_000)
}

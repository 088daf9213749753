import { connect } from 'node:net'
import { expect, test } from 'vitest'
import { openListener as client } from '../resources/listener.ts'
import { openServer } from '../resources/servers.ts'
import { until } from '../resources/until.ts'
import { type Fleet, openFleet } from './fleet.ts'

/** The shortest lease that there is. */
const leaseMs = 5_000

interface Item {
  readonly status: {
    readonly state: string
    readonly agents: readonly { readonly state: string; readonly local: readonly string[] }[]
  }
}

const relayOf = async (fleet: Fleet): Promise<Item> => (await fleet.json(['list'])).items[0]

async function createWeb(fleet: Fleet, port: number): Promise<number> {
  const listen = 'TCP4-LISTEN:0,bind=127.0.0.1,fork'
  await fleet.cat(['create', 'web', '--lease', '5s', listen, `TCP4:127.0.0.1:${port}`, '--wait'])
  const local = (await relayOf(fleet)).status.agents[0]?.local[0] ?? ''
  return Number(local.split(':').at(-1))
}

test('an agent without a word from the controller closes its relays by the end of the lease, and brings them back', async () => {
  await using target = await openServer(socket => socket.pipe(socket))
  await using fleet = await openFleet()
  const controller = await fleet.startController()
  await fleet.startAgent('edge-1')
  const port = await createWeb(fleet, target.port)
  using user = await client(port)
  user.socket.write('hello')
  await until('the relay carries', () => user.heard() === 'hello')

  controller.kill('SIGSTOP')
  const stopped = performance.now()
  await until('the connection is cut', user.closed, 2 * leaseMs)
  const after = performance.now() - stopped
  console.log(`lease of ${leaseMs} ms: closed ${Math.round(after)} ms after the last word of the controller`)
  const refused = await new Promise(resolve => {
    connect(port, '127.0.0.1').once('error', resolve).once('connect', resolve)
  })
  expect(refused).toMatchObject({ code: 'ECONNREFUSED' })

  controller.kill('SIGCONT')
  await until('the relay is back', async () => (await relayOf(fleet)).status.state === 'ready', 20_000)
}, 90_000)

test('a revoke of a host that is out of reach says by when it has let go, and waiting for it ends then', async () => {
  await using target = await openServer(socket => socket.pipe(socket))
  await using fleet = await openFleet()
  await fleet.startController()
  const agent = await fleet.startAgent('edge-1')
  const port = await createWeb(fleet, target.port)
  using user = await client(port)
  user.socket.write('hello')
  await until('the relay carries', () => user.heard() === 'hello')

  agent.kill('SIGSTOP')
  const outcome = await fleet.cat(['revoke', 'relay/web', '-o', 'json'], 6)
  const [receipt] = JSON.parse(outcome.stdout).receipts
  expect(receipt).toMatchObject({ agent: 'edge-1', verdict: 'fenced' })
  const left = Date.parse(receipt.fencedBy) - Date.now()
  expect(left).toBeLessThanOrEqual(leaseMs + 1_000)
  await fleet.cat(['wait', 'relay/web', '--for', 'revoked'])
  expect(Date.now()).toBeGreaterThanOrEqual(Date.parse(receipt.fencedBy))

  // What came while it was stopped is not carried when it goes on, nor is anything else.
  user.socket.write('too late')
  agent.kill('SIGCONT')
  await until('the connection is cut', user.closed)
  expect(user.heard()).toBe('hello')
  await until('the receipt is in', async () => {
    const { items } = await fleet.json(['revocations'])
    return items[0].receipts[0].verdict === 'cut'
  })
}, 90_000)

test('a host that was stopped for longer than its lease carries not one byte more', async () => {
  let carried = 0
  await using target = await openServer(socket => {
    socket.resume().on('data', chunk => {
      carried += chunk.length
      socket.write(chunk)
    })
  })
  await using fleet = await openFleet()
  await fleet.startController()
  const agent = await fleet.startAgent('edge-1')
  const port = await createWeb(fleet, target.port)
  using user = await client(port)
  user.socket.write('before')
  await until('the relay carries', () => user.heard() === 'before')

  agent.kill('SIGSTOP')
  const deadline = performance.now() + leaseMs + 1_000
  await until('more time has passed than the lease has', () => performance.now() > deadline, 2 * leaseMs)
  user.socket.write('after')
  agent.kill('SIGCONT')
  await until('the connection is cut', user.closed)
  expect(user.heard()).toBe('before')
  expect(carried).toBe('before'.length)
  await until('the relay is back', async () => (await relayOf(fleet)).status.state === 'ready', 20_000)
}, 90_000)

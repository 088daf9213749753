import { once } from 'node:events'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { bindAddress } from '#relay/endpoints/index.ts'
import { balances, orderBy } from '#relay/targets/balance.ts'
import { newTargets } from '#relay/targets/target.ts'
import { askTimes, type Backend, openBackend } from '#test/resources/backends.ts'
import { openDatagramSocket } from '#test/resources/datagram-sockets.ts'
import { openTestRelay } from '#test/resources/relays.ts'
import { openClient } from '#test/resources/servers.ts'
import { receive } from '#test/resources/streams.ts'
import { until } from '#test/resources/until.ts'

async function openBackends(...names: string[]) {
  const held = new AsyncDisposableStack()
  const all: Backend[] = []
  for (const name of names) all.push(held.use(await openBackend(name)))
  return { all, targets: all.map(({ target }) => target), [Symbol.asyncDispose]: () => held.disposeAsync() }
}

/** A client from this address, once it knows who serves it; it stays until it is disposed. */
async function meet(port: number, from = '127.0.0.1') {
  const client = await openClient(port, { from })
  const [name] = await once(client, 'data')
  return Object.assign(client, { server: String(name) })
}

async function serverOf(port: number, from: string): Promise<string> {
  await using client = await openClient(port, { from })
  client.end()
  return String(await receive(client))
}

describe('round-robin', () => {
  test('takes turns', async () => {
    await using backends = await openBackends('a', 'b', 'c')
    await using test = await openTestRelay({ targets: backends.targets, balance: 'round-robin' })
    expect(await askTimes(test.port, 7)).toEqual(['a', 'b', 'c', 'a', 'b', 'c', 'a'])
  })

  test('lists each connection with the target that it has', async () => {
    await using backends = await openBackends('a', 'b')
    await using test = await openTestRelay({ targets: backends.targets, balance: 'round-robin' })
    await using _one = await meet(test.port)
    await using _two = await meet(test.port)
    expect([...test.relay.connections.values()].map(({ target }) => target)).toEqual(backends.targets)
    expect(test.opened.map(({ target }) => target)).toEqual(backends.targets)
  })
})

describe('least-connections', () => {
  test('chooses the target with the fewest live connections', async () => {
    await using backends = await openBackends('a', 'b')
    await using test = await openTestRelay({ targets: backends.targets, balance: 'least-connections' })
    await using first = await meet(test.port)
    await using second = await meet(test.port)
    expect(second.server).not.toBe(first.server)
    second.destroy()
    await until('its end is known', () => test.relay.connections.size === 1)
    await using third = await meet(test.port)
    expect(third.server).toBe(second.server)
    expect(test.relay.targets.map(({ connections }) => connections)).toEqual([1, 1])
  })

  test('spreads a quiet relay over its targets', async () => {
    await using backends = await openBackends('a', 'b')
    await using test = await openTestRelay({ targets: backends.targets, balance: 'least-connections' })
    const served = async () => {
      const [name] = await askTimes(test.port, 1)
      await until('it is over', () => test.relay.connections.size === 0)
      return name
    }
    expect(new Set([await served(), await served()]).size).toBe(2)
  })
})

describe('source-hash', () => {
  const sources = Array.from({ length: 40 }, (_, i) => `127.0.1.${i + 1}`)
  const servers = async (port: number) => {
    const found: string[] = []
    for (const from of sources) found.push(await serverOf(port, from))
    return found
  }

  test('sends a source where it was sent before; what moves when a target dies are its own clients', async () => {
    await using backends = await openBackends('a', 'b', 'c')
    await using test = await openTestRelay({ targets: backends.targets, balance: 'source-hash' })
    const before = await servers(test.port)
    expect(new Set(before)).toEqual(new Set(['a', 'b', 'c']))
    expect(await servers(test.port)).toEqual(before)
    await backends.all[1]!.die()
    const during = await servers(test.port)
    expect(during.filter((name, i) => before[i] !== 'b' && name !== before[i])).toEqual([])
    expect(new Set(during)).toEqual(new Set(['a', 'c']))
    await backends.all[1]!.live()
    expect(await servers(test.port)).toEqual(before)
  })

  test('holds for datagrams too: a source keeps its target over its conversations', async () => {
    await using a = await openDatagramSocket(() => 'a')
    await using b = await openDatagramSocket(() => 'b')
    const targets = [a, b].map(({ port }) => `UDP4:127.0.0.1:${port}`)
    const listen = 'UDP4-LISTEN:0,bind=127.0.0.1,fork'
    await using test = await openTestRelay({ listen, targets, balance: 'source-hash' })
    const names: string[] = []
    for (let i = 0; i < 8; i++) {
      await using client = await openDatagramSocket()
      await client.send('who?', test.port)
      names.push(await client.reply())
    }
    expect(new Set(names).size).toBe(1)
  })

  const bound = (count: number) =>
    newTargets(Array.from({ length: count }, (_, i) => bindAddress(`TCP4:10.0.0.${i + 1}:80`)))
  const ips = Array.from({ length: 6_000 }, (_, i) => `10.9.${i >> 8}.${i & 255}`)
  const client = (ip: string) => ({ text: `${ip}:1`, ip })

  test('shares the sources about evenly', () => {
    const order = orderBy('source-hash')
    const targets = bound(6)
    const shares = new Map<string, number>()
    for (const ip of ips) {
      const { address } = order(targets, client(ip))[0]!
      shares.set(address, (shares.get(address) ?? 0) + 1)
    }
    for (const share of shares.values()) expect(Math.abs(share - 1_000)).toBeLessThan(150)
  })

  test('the loss of any one target moves its clients and nobody else', () => {
    const order = orderBy('source-hash')
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 8 }), fc.nat(), fc.ipV4(), (count, nth, ip) => {
        const targets = bound(count)
        const lost = targets[nth % count]
        const [first, second] = order(targets, client(ip))
        const [next] = order(
          targets.filter(target => target !== lost),
          client(ip),
        )
        return next === (first === lost ? second : first)
      }),
      { verbose: true },
    )
  })
})

describe.each(balances)('with %s', balance => {
  test('the next target is tried when one fails', async () => {
    await using backends = await openBackends('a', 'b', 'c')
    await using test = await openTestRelay({ targets: backends.targets, balance })
    await backends.all[0]!.die()
    await backends.all[2]!.die()
    expect(await askTimes(test.port, 9)).toEqual(Array(9).fill('b'))
    expect(test.failed).toEqual([])
  })
})

test('failover comes back to the first target as soon as that is back', async () => {
  await using backends = await openBackends('blue', 'green')
  await using test = await openTestRelay({ targets: backends.targets })
  expect(await askTimes(test.port, 3)).toEqual(['blue', 'blue', 'blue'])
  await backends.all[0]!.die()
  expect(await askTimes(test.port, 2)).toEqual(['green', 'green'])
  expect(test.relay.targets[0]).toMatchObject({
    health: 'unknown',
    connections: 0,
    total: 3,
    failures: 2,
    error: { code: 'refused' },
  })
  await backends.all[0]!.live()
  expect(await askTimes(test.port, 1)).toEqual(['blue'])
  expect(test.relay.targets[0]).toMatchObject({ total: 4, failures: 2, error: undefined })
})

test('the balance of a running relay can be changed', async () => {
  await using backends = await openBackends('a', 'b')
  await using test = await openTestRelay({ targets: backends.targets })
  await using held = await meet(test.port)
  expect(await askTimes(test.port, 2)).toEqual(['a', 'a'])
  test.relay.setSharing({ balance: 'round-robin' })
  expect(await askTimes(test.port, 2)).toEqual(['a', 'b'])
  expect(held.destroyed).toBe(false)
})

test('an address that is listed twice has two turns', async () => {
  await using backends = await openBackends('a', 'b')
  const [a = '', b = ''] = backends.targets
  await using test = await openTestRelay({ targets: [a, b, a], balance: 'round-robin' })
  expect(await askTimes(test.port, 6)).toEqual(['a', 'b', 'a', 'a', 'b', 'a'])
  expect(test.relay.targets.map(({ total }) => total)).toEqual([2, 2, 2])
})

import { describe, expect, test } from 'vitest'
import { openCeiling } from '#agent/ceiling.ts'
import { relayEgress } from '#agent/egress.ts'
import type { Lookup } from '#relay/endpoint.ts'
import { bindAddress, bindListen, bindTarget } from '#relay/endpoints/index.ts'
import type { RelayError } from '#relay/errors.ts'
import { socks5Greeting } from '#relay/proxies/socks5.ts'
import { openContext } from '#test/resources/contexts.ts'
import { openTestRelay, type TestRelay } from '#test/resources/relays.ts'
import { openClient, openEchoServer, openServer } from '#test/resources/servers.ts'
import { receive } from '#test/resources/streams.ts'
import { until } from '#test/resources/until.ts'
import { forbid, permit } from '../agent/resources.ts'

const anywhere = openContext({ egress: { check() {} } })

const names: Record<string, string> = {
  'db.test': '127.0.0.1',
  'twin.test': '127.0.0.2',
  'metadata.test': '169.254.169.254',
  'zero.test': '0.0.0.0',
  'mapped.test': '::ffff:169.254.169.254',
  'nat64.test': '64:ff9b::a9fe:a9fe',
}
const lookup: Lookup = async host => [{ address: names[host]!, family: names[host]!.includes(':') ? 6 : 4 }]

/** A SOCKS proxy as an agent with this ceiling runs it. */
async function openProxy(
  { lines = [] as string[], forbidden = [] as string[], target = 'ASKED' },
  resolve = lookup,
): Promise<TestRelay> {
  const ceiling = openCeiling({ permit: permit(...lines), forbid: forbid(...forbidden) })
  const targets = [bindAddress(target)]
  const egress = relayEgress({ targets }, ceiling)
  return await openTestRelay({
    listen: 'SOCKS-LISTEN:0,bind=127.0.0.1,fork',
    targets,
    egress,
    lookup: resolve,
  })
}

/** \`open\`, or the word that the proxy answers with. */
async function asked(proxy: TestRelay, host: string, port: number): Promise<string> {
  const { dialer } = bindAddress(`SOCKS5:127.0.0.1:${host}:${port},socksport=${proxy.port}`)
  try {
    await using channel = await dialer!.dial(anywhere)
    channel.stream.end('x')
    return String(await receive(channel.stream)) === 'x' ? 'open' : 'silent'
  } catch (error) {
    return (error as RelayError).code
  }
}

const P = '<port>'
const everywhere = ['ASKED:*:*']

describe('a client reaches what the owner of the host permits, and nothing else', () => {
  test.each<[host: string, lines: string[], forbidden: string[], seen: string]>([
    ['127.0.0.1', [], [], 'denied'],
    ['db.test', [], [], 'denied'],
    ['127.0.0.1', ['TCP:*:*'], [], 'denied'],
    ['127.0.0.1', ['ASKED:127.0.0.1:1'], [], 'denied'],
    ['127.0.0.1', [`ASKED:127.0.0.1:${P}`], [], 'open'],
    ['127.0.0.2', [`ASKED:127.0.0.1:${P}`], [], 'denied'],
    ['0x7f.1', [`ASKED:127.0.0.1:${P}`], [], 'open'],
    ['127.0.0.1', ['ASKED:127.0.0.0/8:*'], [], 'open'],
    ['db.test', ['ASKED:127.0.0.1:*'], [], 'open'],
    ['twin.test', ['ASKED:127.0.0.1:*'], [], 'denied'],
    ['db.test', ['ASKED:*.test:*'], [], 'open'],
    ['127.0.0.1', ['ASKED:*.test:*'], [], 'denied'],
    ['127.0.0.1', everywhere, [], 'open'],
    ['127.0.0.1', everywhere, ['TCP:127.0.0.0/8:*'], 'denied'],
    ['db.test', everywhere, ['TCP:127.0.0.0/8:*'], 'denied'],
    ['db.test', everywhere, ['*:127.0.0.1:*'], 'denied'],
    ['twin.test', everywhere, ['*:127.0.0.1:*'], 'open'],
    ['db.test', everywhere, ['ASKED:db.test:*'], 'denied'],
    ['db.test', everywhere, ['TCP4:127.0.0.1:*'], 'denied'],
    ['169.254.169.254', everywhere, [], 'denied'],
    ['metadata.test', everywhere, [], 'denied'],
    ['mapped.test', everywhere, [], 'denied'],
    ['nat64.test', everywhere, [], 'denied'],
    ['zero.test', everywhere, [], 'denied'],
    ['0.0.0.0', everywhere, [], 'denied'],
    ['[::]', everywhere, [], 'denied'],
    ['2852039166', everywhere, [], 'denied'],
    ['metadata.test', [...everywhere, 'TCP:169.254.0.0/16:*', 'ASKED:169.254.0.0/16:*'], [], 'denied'],
  ])('%s with permit %j and forbid %j: %s', async (host, lines, forbidden, seen) => {
    await using server = await openServer(socket => socket.pipe(socket), { host: '0.0.0.0' })
    const filled = lines.map(line => line.replace(P, String(server.port)))
    await using proxy = await openProxy({ lines: filled, forbidden })
    expect(await asked(proxy, host, server.port)).toBe(seen)
    await until('it is over', () => proxy.closed.length === 1)
    expect(proxy.failed.map(({ code }) => code)).toEqual(seen === 'open' ? [] : [seen])
  })

  test('no other command than CONNECT is obeyed, and none is before the ceiling', async () => {
    await using proxy = await openProxy({ lines: everywhere })
    for (const command of [0, 2, 3, 255]) {
      await using client = await openClient(proxy.port)
      client.write(Buffer.concat([socks5Greeting([0]), Buffer.from([5, command, 0, 1, 127, 0, 0, 1, 0, 80])]))
      expect((await receive(client)).toString('hex')).toBe('050005070001000000000000')
    }
    expect(proxy.opened).toEqual([])
  })
})

test('a name that changes its mind a thousand times leads nowhere but where it was checked', async () => {
  await using open = await openEchoServer()
  let reached = 0
  await using hidden = await openServer(
    socket => {
      reached++
      socket.destroy()
    },
    { port: open.port, host: '127.0.0.3' },
  )
  expect(hidden.port).toBe(open.port)
  let turn = 0
  const flipping: Lookup = async () => [{ address: turn++ % 2 ? '127.0.0.3' : '127.0.0.1', family: 4 }]
  await using proxy = await openProxy({ lines: ['ASKED:*.test:*'], forbidden: ['TCP:127.0.0.3:*'] }, flipping)
  const seen: string[] = []
  for (let round = 0; round < 50; round++) {
    seen.push(...(await Promise.all(Array.from({ length: 20 }, () => asked(proxy, 'flip.test', open.port)))))
  }
  expect(reached).toBe(0)
  expect(seen.filter(word => word === 'open')).toHaveLength(500)
  expect(seen.filter(word => word === 'denied')).toHaveLength(500)
})

test('the ceiling tells before anybody comes that clients may go nowhere, and prints the lines', () => {
  const check = (target: string, ...lines: string[]) => {
    const ceiling = openCeiling({ permit: permit(...lines), forbid: [] })
    ceiling.checkListen(bindListen('SOCKS-LISTEN:1080,fork,bind=127.0.0.1'))
    ceiling.checkTarget(bindTarget(target))
  }
  expect(() => check('ASKED')).toThrow(
    'ASKED: the host\'s ceiling has no place that clients may ask for. Permit them there: add "ASKED:*:*" under permit: in agent.yaml',
  )
  expect(() => check('ASKED,allow-to=*.test:443;10.0.0.0/8:80')).toThrow(
    'add "ASKED:*.test:443" under permit: in agent.yaml, add "ASKED:10.0.0.0/8:80" under permit: in agent.yaml',
  )
  check('ASKED,allow-to=*.test:443', 'ASKED:*.test:443')
  const open = openCeiling({ permit: permit('ASKED:*:*'), forbid: [] })
  expect(() => open.checkListen(bindListen('SOCKS-LISTEN:1080,fork'))).toThrow(
    'add "SOCKS-LISTEN:0.0.0.0:1080" under permit: in agent.yaml, or listen with bind=127.0.0.1',
  )
})

test('a thousand clients that never come to their point keep nobody out', async () => {
  await using server = await openEchoServer()
  await using proxy = await openProxy({ lines: everywhere })
  await using crowd = new AsyncDisposableStack()
  for (let round = 0; round < 12; round++) {
    const batch = Array.from({ length: 100 }, () => openClient(proxy.port, { from: '127.0.0.9' }))
    for (const client of await Promise.all(batch)) crowd.use(client).write(socks5Greeting([0, 1, 2]))
  }
  expect(await asked(proxy, '127.0.0.1', server.port)).toBe('open')
  await until('the surplus is cut', () => proxy.failed.some(({ code }) => code === 'exhausted'))
  expect(proxy.opened).toHaveLength(1)
})

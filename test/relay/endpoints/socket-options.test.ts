import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Channel, Listener } from '#relay/endpoint.ts'
import { bindAddress } from '#relay/endpoints/index.ts'
import type { RelayError } from '#relay/errors.ts'
import { conformance, type Pair, resetFor } from '#test/conformance/endpoint.ts'
import { openContext } from '#test/resources/contexts.ts'
import { needing } from '#test/resources/needs.ts'
import { openNetwork } from '#test/resources/netns.ts'
import { root, run, startProgram } from '#test/resources/program.ts'
import { fdOf, fdsOf, sockopt } from '#test/resources/sockopts.ts'
import { receive } from '#test/resources/streams.ts'
import { until } from '#test/resources/until.ts'

const listen = (text: string, cx = openContext()): Promise<Listener> => bindAddress(text).acceptor!.listen(cx)
const dial = (text: string, cx = openContext()): Promise<Channel> => bindAddress(text).dialer!.dial(cx)

/** Both ends of a connection; options of the address that listens, and of the one that dials. */
async function connection(accepting = '', dialling = '', version: 4 | 6 = 4): Promise<Pair> {
  const at = version === 4 ? '127.0.0.1' : '[::1]'
  await using listener = await listen(`TCP${version}-LISTEN:0,bind=${at}${accepting}`)
  const near = await dial(`TCP${version}:${listener.local}${dialling}`)
  const far = (await listener[Symbol.asyncIterator]().next()).value as Channel
  return {
    near,
    far,
    async [Symbol.asyncDispose]() {
      await near[Symbol.asyncDispose]()
      await far[Symbol.asyncDispose]()
    },
  }
}

const all = ',sndbuf=50000,rcvbuf=60000,ttl=33,tcp-user-timeout=7,mtudiscover=0'

conformance('a TCP connection whose sockets are prepared', {
  resets: true,
  open: () => connection(all, all),
  listening: () => ({
    endpoint: bindAddress(`TCP4-LISTEN:0,bind=127.0.0.1,fork${all}`),
    dialer: ({ local }) => bindAddress(`TCP4:${local}${all}`),
  }),
  unreachable: () => ({ endpoint: bindAddress(`TCP4:127.0.0.1:1${all}`), code: 'refused' }),
})

/** Options, and what the kernel then says: level, option, value. */
const settings: [options: string, level: number, option: number, value: number, needs?: 'root'][] = [
  ['sndbuf=50000', 1, 7, 100_000],
  ['so-rcvbuf=60000', 1, 8, 120_000],
  ['so-mark=77', 1, 36, 77, 'root'],
  ['priority=5', 1, 12, 5],
  ['ip-ttl=33', 0, 2, 33],
  ['mtudiscover=2', 0, 10, 2],
  ['freebind', 0, 15, 1],
  ['ip-transparent', 0, 19, 1, 'root'],
  ['tcp-maxseg=600', 6, 2, 588],
  ['tcp-window-clamp=5000', 6, 10, 5_000],
  ['user-timeout=7', 6, 18, 7_000],
  ['user-timeout=1500ms', 6, 18, 1_500],
  ['tcp-syncnt=3', 6, 7, 3],
  ['linger2=9', 6, 8, 9],
  ['cork', 6, 3, 1],
]

describe('a TCP socket has the options of its address', () => {
  for (const [options, level, option, value, needs] of settings) {
    const tried = needs ? needing(needs) : test
    tried(`${options}, as the target and as what is accepted`, async () => {
      await using dialled = await connection('', `,${options}`)
      await using accepted = await connection(`,${options}`)
      expect(sockopt(fdOf(dialled.near), level, option)).toBe(value)
      expect(sockopt(fdOf(accepted.far), level, option)).toBe(value)
      // What one side offers as its largest segment is what the other side sends at most.
      if (!options.includes('maxseg')) expect(sockopt(fdOf(accepted.near), level, option)).not.toBe(value)
    })
  }

  test('over IPv6 too', async () => {
    await using pair = await connection(',ttl=33,mtudiscover=0', ',ttl=34,freebind', 6)
    expect(sockopt(fdOf(pair.far), 41, 16)).toBe(33)
    expect(sockopt(fdOf(pair.far), 41, 23)).toBe(0)
    expect(sockopt(fdOf(pair.near), 41, 16)).toBe(34)
    expect(sockopt(fdOf(pair.near), 41, 78)).toBe(1)
  })

  test('also beside the options that Node sets', async () => {
    const options = ',mss=600,tos=16,keepalive,keepidle=30,nodelay=0'
    await using pair = await connection(options, options)
    for (const channel of [pair.near, pair.far]) {
      expect(sockopt(fdOf(channel), 0, 1)).toBe(16)
      expect(sockopt(fdOf(channel), 6, 4)).toBe(30)
      expect(sockopt(fdOf(channel), 6, 1)).toBe(0)
      expect(sockopt(fdOf(channel), 6, 2)).toBe(588)
    }
  })

  test('`interface` is the one that it uses', async () => {
    await using pair = await connection(',interface=lo', ',so-bindtodevice=lo')
    for (const channel of [pair.near, pair.far]) {
      const name = Buffer.alloc(4)
      name.writeUInt32LE(sockopt(fdOf(channel), 1, 25))
      expect(name.toString('latin1', 0, 2)).toBe('lo')
    }
  })

  test('`bind` and `sourceport` are heeded', async () => {
    await using free = await listen('TCP4-LISTEN:0,bind=127.0.0.9')
    const port = free.local.split(':')[1]
    await free[Symbol.asyncDispose]()
    await using listener = await listen('TCP4-LISTEN:0,bind=127.0.0.1')
    await using _near = await dial(`TCP4:${listener.local},bind=127.0.0.9,sourceport=${port},ttl=9`)
    const { value } = await listener[Symbol.asyncIterator]().next()
    await using far = value as Channel
    expect(far.peer.text).toBe(`127.0.0.9:${port}`)
  })

  test('`freebind` listens on an address that this host does not have', async () => {
    await expect(listen('TCP4-LISTEN:0,bind=203.0.113.7')).rejects.toMatchObject({ code: 'unreachable' })
    await using listener = await listen('TCP4-LISTEN:0,bind=203.0.113.7,freebind')
    expect(listener.local).toMatch(/^203\.0\.113\.7:\d+$/)
  })

  test('`ipv6only` and `reuseport` are heeded', async () => {
    await using both = await listen('TCP6-LISTEN:0,bind=[::],reuseport,ttl=9,fork')
    const port = Number(both.local.split(':').at(-1))
    await using _shared = await listen(`TCP6-LISTEN:${port},bind=[::],reuseport,ttl=9,fork`)
    await using _mapped = await dial(`TCP4:127.0.0.1:${port}`)
    await using only = await listen('TCP6-LISTEN:0,bind=[::],ipv6only,ttl=9,fork')
    const reaching = dial(`TCP4:127.0.0.1:${only.local.split(':').at(-1)}`)
    await expect(reaching).rejects.toMatchObject({ code: 'refused' })
    const taken = listen(`TCP6-LISTEN:${port},bind=[::],ttl=9`)
    await expect(taken).rejects.toMatchObject({ code: 'address-in-use' })
  })

  test('`defer-accept` hands over who has said something', async () => {
    await using listener = await listen('TCP4-LISTEN:0,bind=127.0.0.1,fork,defer-accept=60')
    const arrivals = listener[Symbol.asyncIterator]()
    await using _silent = await dial(`TCP4:${listener.local}`)
    await using talking = await dial(`TCP4:${listener.local}`)
    talking.stream.end('hello')
    await using first = (await arrivals.next()).value as Channel
    expect((await receive(first.stream)).toString()).toBe('hello')
  })

  test('`linger=0` closes with a reset', async () => {
    await using pair = await connection('', ',linger=0')
    pair.far.stream.resume()
    const reset = new Promise(resolve => pair.far.stream.once('error', resolve))
    await pair.near[Symbol.asyncDispose]()
    expect(await reset).toMatchObject({ code: 'ECONNRESET' })
  })
})

describe('a TCP listener serves clients by their port', () => {
  test('`sourceport` is the one that they must come from', async () => {
    await using free = await listen('TCP4-LISTEN:0,bind=127.0.0.1')
    const port = free.local.split(':')[1]
    await free[Symbol.asyncDispose]()
    const turned: string[] = []
    await using listener = await listen(
      `TCP4-LISTEN:0,bind=127.0.0.1,sourceport=${port}`,
      openContext({ turnedAway: cause => turned.push(cause) }),
    )
    await resetFor(bindAddress(`TCP4:${listener.local}`))
    await using _right = await dial(`TCP4:${listener.local},sourceport=${port}`)
    await using served = (await listener[Symbol.asyncIterator]().next()).value as Channel
    expect(served.peer.text).toBe(`127.0.0.1:${port}`)
    expect(turned).toEqual(['source-port'])
  })

  needing('root', 'socat')('`lowport` wants one below 1024, as socat does', async () => {
    await using listener = await listen('TCP4-LISTEN:0,bind=127.0.0.1,lowport')
    const arrival = listener[Symbol.asyncIterator]().next()
    const high = await run(['socat', '-t', '5', '-', `TCP4:${listener.local}`], { input: 'high' })
    expect(high.stdout).toBe('')
    const low = run(['socat', '-t', '5', '-', `TCP4:${listener.local},lowport`], { input: 'low' })
    await using served = (await arrival).value as Channel
    expect((await receive(served.stream)).toString()).toBe('low')
    served.stream.end('served')
    expect((await low).stdout).toBe('served')
  })
})

describe('a UDP socket has the options of its address', () => {
  for (const [options, level, option, value, needs] of settings.filter(([, level]) => level !== 6)) {
    const tried = needs ? needing(needs) : test
    tried(`${options}, where it listens and where it sends`, async () => {
      await using listener = await listen(`UDP4-LISTEN:0,bind=127.0.0.1,fork,${options}`)
      const port = Number(listener.local.split(':')[1])
      expect(fdsOf('udp', port).map(fd => sockopt(fd, level, option))).toEqual([value])
      await using free = await listen('UDP4-LISTEN:0,bind=127.0.0.1')
      const from = Number(free.local.split(':')[1])
      await free[Symbol.asyncDispose]()
      await using sending = await dial(`UDP4:127.0.0.1:${port},bind=127.0.0.1:${from},${options}`)
      expect(fdsOf('udp', from).map(fd => sockopt(fd, level, option))).toEqual([value])
      sending.stream.write('hello')
      const { value: heard } = await listener[Symbol.asyncIterator]().next()
      await using conversation = heard as Channel
      expect(conversation.peer.text).toBe(`127.0.0.1:${from}`)
    })
  }

  needing('python3')(
    'its packets have the `ttl` and the `tos` that it says, with and without a mark',
    async () => {
      const script = `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('127.0.0.1', 0))
s.setsockopt(0, 12, 1)
s.setsockopt(0, 13, 1)
print(s.getsockname()[1], flush=True)
data, more, *_ = s.recvmsg(100, 200)
print(sorted((kind, value[0]) for _, kind, value in more), flush=True)
`
      await using receiver = startProgram(['python3', '-c', script])
      const [port] = await receiver.says(/\d+/)
      await using sending = await dial(`UDP4-SENDTO:127.0.0.1:${port},ttl=33,tos=16`)
      sending.stream.write('hello')
      await receiver.says(/\[\(1, 16\), \(2, 33\)\]/)
    },
  )
})

needing('root', 'socat')(
  'what is bound to an interface hears and reaches nobody through another',
  async () => {
    await using network = await openNetwork(2)
    const [here, there] = network.hosts
    const relay = (netns: string, ...addresses: string[]) =>
      startProgram([process.execPath, join(root, 'test/relay/programs/joined.ts'), ...addresses], { netns })
    const ask = async (netns: string, address: string) =>
      (await run(['socat', '-T', '1', '-t', '1', '-', address], { netns, input: 'hello' })).stdout
    await using _outer = relay(here!.netns, 'TCP4-LISTEN:7001,fork,interface=eth0', 'ECHO')
    await using _inner = relay(here!.netns, 'TCP4-LISTEN:7002,fork,interface=lo', 'ECHO')
    await using _udp = relay(here!.netns, 'UDP4-LISTEN:7003,fork,interface=eth0', 'ECHO')
    const through = `TCP4:${there!.ip}:7004`
    await using _far = relay(there!.netns, 'TCP4-LISTEN:7004,fork', 'ECHO')
    await using _out = relay(here!.netns, 'TCP4-LISTEN:7005,fork', `${through},interface=eth0`)
    await using _lost = relay(
      here!.netns,
      'TCP4-LISTEN:7006,fork',
      `${through},interface=lo,connect-timeout=500ms`,
    )
    const answers = (what: string, netns: string, address: string) =>
      until(what, async () => (await ask(netns, address)) === 'hello')

    await answers('through eth0 from outside', there!.netns, `TCP4:${here!.ip}:7001`)
    await answers('through lo from inside', here!.netns, 'TCP4:127.0.0.1:7002')
    await answers('datagrams through eth0', there!.netns, `UDP4:${here!.ip}:7003`)
    await answers('out through eth0', here!.netns, 'TCP4:127.0.0.1:7005')
    expect(await ask(here!.netns, 'TCP4:127.0.0.1:7001')).toBe('')
    expect(await ask(there!.netns, `TCP4:${here!.ip}:7002`)).toBe('')
    expect(await ask(here!.netns, 'UDP4:127.0.0.1:7003')).toBe('')
    expect(await ask(here!.netns, 'TCP4:127.0.0.1:7006')).toBe('')
  },
  60_000,
)

describe('what the kernel refuses is refused by its name', () => {
  const failure = (opening: Promise<unknown>): Promise<RelayError> =>
    opening.then(
      () => expect.unreachable(),
      (error: RelayError) => error,
    )

  test.each(['TCP4:127.0.0.1:1', 'UDP4:127.0.0.1:9'])('an interface that is not there: %s', async address => {
    const error = await failure(dial(`${address},interface=nosuch0`))
    expect(error).toMatchObject({ code: 'not-found', why: 'this host has no interface `nosuch0`' })
    const listening = await failure(listen('TCP4-LISTEN:0,bind=127.0.0.1,interface=nosuch0'))
    expect(listening).toMatchObject({ code: 'not-found', fix: '`ip link` lists them' })
  })

  test('an address that others hold', async () => {
    await using holder = await listen('TCP4-LISTEN:0,bind=127.0.0.1,ttl=9')
    const error = await failure(listen(`TCP4-LISTEN:${holder.local.split(':')[1]},bind=127.0.0.1,ttl=9`))
    expect(error.code).toBe('address-in-use')
  })

  needing('root', 'setpriv')('a mark without the right to set one', async () => {
    const { stderr } = await run([
      'setpriv',
      '--bounding-set',
      '-net_admin,-net_raw',
      process.execPath,
      join(root, 'test/relay/programs/joined.ts'),
      'TCP4-LISTEN:0,bind=127.0.0.1,so-mark=1',
      'ECHO',
    ])
    expect(stderr).toContain('this process may not set `so-mark`. Give it CAP_NET_ADMIN, or leave it out')
  })

  test.each([
    ['TCP4:a:1,linger=5', 'would hold up the whole process'],
    ['TCP4:a:1,interface=a/b', 'it names no interface'],
    ['TCP4:a:1,mss=87', 'from 88 to 32767'],
    ['TCP4:a:1,ttl=0', 'from 1 to 255'],
    ['TCP4-LISTEN:1,defer-accept=0', 'shorter than 1000 ms'],
    ['TCP4-LISTEN:1,sourceport=0', 'from 1 to 65535'],
    ['TCP4:a:1,quickack', 'option `quickack` is not supported'],
  ])('%s', (text, why) => {
    expect(() => bindAddress(text)).toThrow(why)
  })
})

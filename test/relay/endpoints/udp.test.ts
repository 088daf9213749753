import { execFileSync } from 'node:child_process'
import { describe, expect, test } from 'vitest'
import type { Channel, Listener } from '#relay/endpoint.ts'
import { bindAddress } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'
import { collect, datagramConformance, next, write } from '#test/conformance/datagram.ts'
import type { Pair } from '#test/conformance/endpoint.ts'
import { openContext } from '#test/resources/contexts.ts'
import { openDatagramSocket } from '#test/resources/datagram-sockets.ts'
import { failureOf } from '#test/resources/streams.ts'
import { until } from '#test/resources/until.ts'

const listen = (text: string, cx = openContext()): Promise<Listener> => bindAddress(text).acceptor!.listen(cx)
const dial = (text: string, cx = openContext()): Promise<Channel> => bindAddress(text).dialer!.dial(cx)

/** A conversation that one side has begun, for there is none before. */
async function begun(
  kind: string,
  host: string,
  target = 'UDP',
): Promise<Pair & { dialled: Channel; accepted: Channel }> {
  const listener = await listen(`${kind}:0,bind=${host}`)
  const dialled = await dial(`${target}:${listener.local}`)
  if (kind !== 'UDP-RECV') await write(dialled, Buffer.from('knock'))
  const { value } = await listener[Symbol.asyncIterator]().next()
  const accepted = value as Channel
  if (kind !== 'UDP-RECV') await next(accepted)
  return {
    dialled,
    accepted,
    near: dialled,
    far: accepted,
    async [Symbol.asyncDispose]() {
      await listener[Symbol.asyncDispose]()
      await dialled[Symbol.asyncDispose]()
      await accepted[Symbol.asyncDispose]()
    },
  }
}

const answered = async (host: string, target?: string) => {
  const pair = await begun('UDP-LISTEN', host, target)
  // An answer to an answer: from now on it may be sent as much as one likes.
  await write(pair.accepted, Buffer.from('who?'))
  await next(pair.dialled)
  await write(pair.dialled, Buffer.from('me'))
  await next(pair.accepted)
  return pair
}

datagramConformance('a dialled UDP', { answers: true, largest: 65_507, open: () => answered('127.0.0.1') })

datagramConformance('a dialled UDP-SENDTO over IPv6', {
  answers: true,
  largest: 65_487,
  open: () => answered('[::1]', 'UDP6-SENDTO'),
})

datagramConformance('a dialled UDP-DATAGRAM', {
  answers: true,
  largest: 65_507,
  open: () => answered('127.0.0.1', 'UDP4-DATAGRAM'),
})

datagramConformance('a UDP-LISTEN', {
  answers: true,
  largest: 65_507,
  async open() {
    const pair = await answered('127.0.0.1')
    return { ...pair, near: pair.accepted, far: pair.dialled }
  },
})

datagramConformance('a UDP-RECV', {
  answers: false,
  largest: 65_507,
  async open() {
    const pair = await begun('UDP-RECV', '127.0.0.1')
    return { ...pair, near: pair.accepted, far: pair.dialled }
  },
})

const refusal = (text: string): RelayError => {
  try {
    bindAddress(text)
  } catch (error) {
    return error as RelayError
  }
  throw new Error(`${text} was accepted`)
}

const portOf = (local: string) => Number(local.split(':').at(-1))

/** A port that nobody has. */
async function freePort(): Promise<number> {
  await using socket = await openDatagramSocket()
  return socket.port
}

describe('a UDP target', () => {
  test('that nobody listens on shows when something is sent to it', async () => {
    await using channel = await dial(`UDP4:127.0.0.1:${await freePort()}`)
    const failure = failureOf(channel.stream)
    await write(channel, Buffer.from('anyone?'))
    expect(await failure).toBe('refused')
  })

  test('of UDP-SENDTO stays silent when nobody listens', async () => {
    await using channel = await dial(`UDP4-SENDTO:127.0.0.1:${await freePort()}`)
    for (let i = 0; i < 3; i++) await write(channel, Buffer.from('anyone?'))
    expect(channel.stream.errored).toBeNull()
  })

  for (const kind of ['UDP4', 'UDP4-SENDTO']) {
    test(`of ${kind} hears the target and nobody else`, async () => {
      await using server = await openDatagramSocket(() => 'from the target')
      await using stranger = await openDatagramSocket()
      const port = await freePort()
      await using channel = await dial(`${kind}:127.0.0.1:${server.port},sourceport=${port}`)
      const got = collect(channel)
      await stranger.send('from a stranger', port)
      await write(channel, Buffer.from('hello'))
      await until('the answer is there', () => got.length > 0)
      expect(got.map(String)).toEqual(['from the target'])
      expect(server.got[0]?.from.port).toBe(port)
    })
  }

  test('of UDP-DATAGRAM hears anyone in `range`', async () => {
    await using server = await openDatagramSocket()
    await using welcome = await openDatagramSocket(undefined, '127.0.0.2')
    const port = await freePort()
    await using channel = await dial(
      `UDP4-DATAGRAM:127.0.0.1:${server.port},bind=127.0.0.1:${port},range=127.0.0.2/32`,
    )
    const got = collect(channel)
    await server.send('outside', port)
    await welcome.send('inside', port, '127.0.0.1')
    await until('one is there', () => got.length > 0)
    expect(got.map(String)).toEqual(['inside'])
  })

  test('of UDP-DATAGRAM with `sourceport` hears its port only, unless told to ignore that', async () => {
    for (const [option, heard] of [
      ['', ['from the port']],
      [',udp-ignore-peerport', ['from another', 'from the port']],
    ] as const) {
      await using server = await openDatagramSocket()
      await using other = await openDatagramSocket()
      const port = await freePort()
      await using channel = await dial(
        `UDP4-DATAGRAM:127.0.0.1:${server.port},bind=127.0.0.1,sourceport=${port}${option}`,
      )
      const got = collect(channel)
      await other.send('from another', port)
      await server.send('from the port', port)
      await until('it is there', () => got.length === heard.length)
      expect(got.map(String)).toEqual(heard)
    }
  })

  test('is called by a name once, and by the first of its addresses that is permitted', async () => {
    await using server = await openDatagramSocket(text => text, '127.0.0.3')
    let asked = 0
    const lookup = async () => {
      asked++
      return ['169.254.1.1', '127.0.0.3', '127.0.0.4'].map(address => ({ address, family: 4 }))
    }
    await using channel = await dial(`UDP:name.test:${server.port}`, openContext({ lookup }))
    expect(channel.peer).toEqual({ text: `127.0.0.3:${server.port}`, ip: '127.0.0.3' })
    await write(channel, Buffer.from('hello'))
    expect(String(await next(channel))).toBe('hello')
    expect(asked).toBe(1)
  })

  for (const kind of ['UDP', 'UDP-SENDTO', 'UDP-DATAGRAM']) {
    for (const host of [
      '169.254.169.254',
      '[::ffff:169.254.169.254]',
      '0xa9fea9fe',
      '0.0.0.0',
      '[fe80::1]',
    ]) {
      test(`${kind}:${host} is never sent to`, async () => {
        await expect(dial(`${kind}:${host}:53`)).rejects.toMatchObject({ code: 'denied' })
      })
    }
  }

  test('whose name flips between a good and a forbidden address is never sent to at the forbidden one', async () => {
    await using good = await openDatagramSocket(undefined, '127.0.0.1')
    await using bad = await listen(`UDP4-RECV:${good.port},bind=127.0.0.66`)
    const { value } = await bad[Symbol.asyncIterator]().next()
    await using reached = value as Channel
    const slipped = collect(reached)
    const check = (_: unknown, ip?: string) => {
      if (ip === '127.0.0.66') throw new RelayError('denied', { what: 'the target' })
    }
    let turn = 0
    const lookup = async () => [{ address: turn++ % 2 ? '127.0.0.66' : '127.0.0.1', family: 4 }]
    let denied = 0
    for (let round = 0; round < 200; round++) {
      try {
        const cx = openContext({ lookup, egress: { check } })
        await using channel = await dial(`UDP:flip.test:${good.port}`, cx)
        await write(channel, Buffer.from('x'))
      } catch (error) {
        expect(error).toMatchObject({ code: 'denied' })
        denied++
      }
    }
    await until('the good ones are there', () => good.got.length === 100)
    expect([turn, denied, slipped.length]).toEqual([200, 100, 0])
  })

  test('a resolver that hangs is given up with the connect-timeout', async () => {
    const lookup = () => new Promise<never>(() => {})
    await expect(
      dial('UDP:slow.test:53,connect-timeout=20ms', openContext({ lookup })),
    ).rejects.toMatchObject({
      code: 'timed-out',
    })
  })

  test('a broadcast address takes `broadcast`, and the refusal says so', async () => {
    await expect(dial('UDP4:255.255.255.255:9')).rejects.toMatchObject({
      code: 'denied',
      fix: 'Add `broadcast`',
    })
    const port = await freePort()
    await using listener = await listen(`UDP4-RECV:${port}`)
    const { value } = await listener[Symbol.asyncIterator]().next()
    await using receiver = value as Channel
    await using sender = await dial(`UDP4-DATAGRAM:127.255.255.255:${port},so-broadcast`)
    await write(sender, Buffer.from('all of you'))
    expect(String(await next(receiver))).toBe('all of you')
  })

  test('null-eof takes an empty datagram for an end, and shut-null makes an end an empty datagram', async () => {
    await using server = await openDatagramSocket(() => '')
    await using channel = await dial(`UDP4:127.0.0.1:${server.port},null-eof,shut-null`)
    const ended = new Promise(resolve => channel.stream.once('end', resolve))
    channel.stream.resume()
    channel.stream.end('the last word')
    await ended
    expect(await server.reply(2)).toBe('')
  })
})

describe('multicast', () => {
  test('a group is heard by all who joined it, and spoken to by anyone', async () => {
    const port = await freePort()
    const join = 'reuseaddr,ip-add-membership=224.255.0.1:127.0.0.1'
    await using first = await listen(`UDP4-RECV:${port},${join}`)
    await using second = await dial(
      `UDP4-DATAGRAM:224.255.0.1:${port},bind=:${port},${join},ip-multicast-if=lo`,
    )
    const { value } = await first[Symbol.asyncIterator]().next()
    await using member = value as Channel
    const cx = openContext()
    const speaking = 'ip-multicast-if=127.0.0.1,ip-multicast-ttl=2,ttl=9,ip-multicast-loop'
    await using speaker = await dial(`UDP4-DATAGRAM:224.255.0.1:${port},${speaking}`, cx)
    await write(speaker, Buffer.from('to all'))
    expect(String(await next(member))).toBe('to all')
    expect(String(await next(second))).toBe('to all')
    await write(second, Buffer.from('me too'))
    expect(String(await next(member))).toBe('me too')
  })

  test('a source that was not asked for is not heard', async () => {
    const port = await freePort()
    await using listener = await listen(
      `UDP4-RECV:${port},bind=232.1.1.1,ip-add-source-membership=232.1.1.1:127.0.0.1:127.0.0.5`,
    )
    const { value } = await listener[Symbol.asyncIterator]().next()
    await using member = value as Channel
    const got = collect(member)
    for (const host of ['127.0.0.6', '127.0.0.5']) {
      await using speaker = await dial(`UDP4-DATAGRAM:232.1.1.1:${port},bind=${host},ip-multicast-if=lo`)
      await write(speaker, Buffer.from(host))
    }
    await until('the one is there', () => got.length > 0)
    expect(got.map(String)).toEqual(['127.0.0.5'])
  })

  test.each([
    ['UDP4-RECV:1,ip-add-membership=10.0.0.1:lo', /names no IPv4 group/],
    ['UDP4-RECV:1,ip-add-membership=224.0.0.1:', /names no interface/],
    ['UDP4-RECV:1,ip-add-membership=224.0.0.1:2', /names no interface/],
    ['UDP6-RECV:1,ipv6-join-group=224.0.0.1:lo', /names no IPv6 group/],
  ])('%s is refused', (text, why) => {
    expect(refusal(text)).toMatchObject({ code: 'usage', why: expect.stringMatching(why) })
  })

  test('an interface that is not there is named', async () => {
    await expect(listen('UDP4-RECV:0,ip-add-membership=224.0.0.1:nosuch0')).rejects.toMatchObject({
      code: 'unreachable',
      why: 'this host has no interface `nosuch0` with an IPv4 address',
    })
  })
})

describe('a UDP port', () => {
  test('answers from where it was asked, over both IP versions', async () => {
    await using listener = await listen('UDP-LISTEN:0,pf=ip6,fork')
    const arrivals = listener[Symbol.asyncIterator]()
    for (const [host, source] of [
      ['127.0.0.1', '127.0.0.1'],
      ['::1', '[::1]'],
    ] as const) {
      await using client = await openDatagramSocket(undefined, host)
      await client.send('hello', portOf(listener.local))
      const { value } = await arrivals.next()
      await using channel = value as Channel
      expect(channel.peer).toMatchObject({ text: `${source}:${client.port}`, ip: host })
      await write(channel, Buffer.from('well, hello'))
      expect(await client.reply()).toBe('well, hello')
      expect(client.got[0]?.from.port).toBe(portOf(listener.local))
    }
  })

  test('in use is refused by name and cause, and shared when all who bind it say so', async () => {
    await using listener = await listen('UDP4-LISTEN:0,bind=127.0.0.1,fork')
    const { local } = listener
    await expect(listen(`UDP4-LISTEN:${portOf(local)},bind=127.0.0.1`)).rejects.toMatchObject({
      code: 'address-in-use',
      what: `UDP4-LISTEN:${local}`,
    })
    for (const option of ['reuseaddr', 'reuseport']) {
      await using first = await listen(`UDP4-LISTEN:0,bind=127.0.0.1,${option}`)
      await using _second = await listen(`UDP4-LISTEN:${portOf(first.local)},bind=127.0.0.1,${option}`)
    }
  })

  test('can be listened on again as soon as it is disposed', async () => {
    const port = await freePort()
    for (const kind of ['UDP4-LISTEN', 'UDP4-RECVFROM', 'UDP4-LISTEN']) {
      await using listener = await listen(`${kind}:${port},bind=127.0.0.1,fork`)
      expect(listener.local).toBe(`127.0.0.1:${port}`)
    }
  })

  test('that nothing comes to gives up after its accept-timeout', async () => {
    await using listener = await listen('UDP4-LISTEN:0,bind=127.0.0.1,accept-timeout=20ms')
    await expect(listener[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: 'timed-out' })
  })

  test('disposal ends conversations that nobody took, and spares those that were', async () => {
    const listener = await listen('UDP4-LISTEN:0,bind=127.0.0.1,fork')
    const port = portOf(listener.local)
    await using first = await openDatagramSocket()
    await using second = await openDatagramSocket()
    await first.send('the first', port)
    const arrivals = listener[Symbol.asyncIterator]()
    const { value } = await arrivals.next()
    await using taken = value as Channel
    await second.send('two', port)
    await listener[Symbol.asyncDispose]()
    expect((await arrivals.next()).done).toBe(true)
    await write(taken, Buffer.from('still here'))
    expect(await first.reply()).toBe('still here')
    await taken[Symbol.asyncDispose]()
    await using _again = await listen(`UDP4-LISTEN:${port},bind=127.0.0.1,fork`)
  })

  test('options reach the kernel', async () => {
    await using listener = await listen('UDP4-RECV:0,bind=127.0.0.1,rcvbuf=8192')
    const { value } = await listener[Symbol.asyncIterator]().next()
    await using _channel = value as Channel
    const [socket = ''] = execFileSync('ss', ['-unlmH', `sport = :${portOf(listener.local)}`])
      .toString()
      .split('\n\n')
    expect(socket).toMatch(/rb16384/)
  })
})

test('the scope names the host and the port, and the port that others can know', () => {
  const scope = (text: string) => bindAddress(text).scope.text
  expect(scope('UDP4-L:53,bind=127.0.0.1,fork')).toBe('UDP4-LISTEN:127.0.0.1:53')
  expect(scope('UDP-RECV:syslog')).toBe('UDP-RECV:0.0.0.0:514')
  expect(scope('udp6-recvfrom:53')).toBe('UDP6-RECVFROM:[::]:53')
  expect(scope('UDP:0x7f.1:domain')).toBe('UDP:127.0.0.1:53')
  const hears = (text: string) => bindAddress(text).listens?.text
  expect(hears('UDP4-DATAGRAM:224.0.0.1:6666')).toBeUndefined()
  expect(hears('UDP4-DATAGRAM:224.0.0.1:6666,bind=10.0.0.1')).toBeUndefined()
  expect(hears('UDP4-DATAGRAM:224.0.0.1:6666,bind=:6666')).toBe('UDP4-RECV:0.0.0.0:6666')
  expect(hears('UDP4-DATAGRAM:224.0.0.1:6666,bind=127.0.0.1,sp=77')).toBe('UDP4-RECV:127.0.0.1:77')
  expect(hears('UDP6-DATAGRAM:[ff02::1]:6666,sp=77')).toBe('UDP6-RECV:[::]:77')
  expect(hears('UDP4-SENDTO:10.0.0.1:6666,sp=77')).toBeUndefined()
})

test.each([
  ['UDP4-LISTEN:53,backlog=9', 'unsupported', /`rcvbuf=`/],
  ['UDP4-RECV:53,fork', 'unsupported', /UDP-LISTEN for one a sender/],
  ['UDP4:a:53,tos=256', 'usage', /from 0 to 255/],
  ['UDP4:a:53,mss=600', 'usage', /not one of UDP4/],
  ['UDP4:a:53,bind=[::1]', 'usage', /different IP versions/],
  ['UDP4:a:53,bind=:9,sp=8', 'usage', /different ports/],
  ['UDP4:a:53,bind=:', 'usage', /neither an address nor a port/],
  ['UDP4:[::1]:53', 'usage', /different IP versions/],
  ['UDP4:a', 'usage', /UDP4:<host>:<port>/],
  ['UDP4-SENDTO:a:53,range=10.0.0.0/8', 'usage', /not one of UDP4-SENDTO/],
  ['UDP4-LISTEN:53,keepalive', 'usage', /not one of UDP4-LISTEN/],
])('%s is refused as %s', (text, code, message) => {
  expect(refusal(text)).toMatchObject({ code, message: expect.stringMatching(message) })
})

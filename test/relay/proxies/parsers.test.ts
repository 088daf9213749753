import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { memoryPair } from '#relay/endpoints/memory-pair.ts'
import { canonicalIp } from '#relay/ip.ts'
import { crc32c } from '#relay/proxies/crc32c.ts'
import { connectAnswer } from '#relay/proxies/http-connect.ts'
import { parseProxyHeader, proxyHeader } from '#relay/proxies/proxy-header.ts'
import { parseSocks4Reply, parseSocks4Request, socks4Reply, socks4Request } from '#relay/proxies/socks4.ts'
import {
  parseSocks5Choice,
  parseSocks5Greeting,
  parseSocks5Login,
  parseSocks5LoginAnswer,
  parseSocks5Reply,
  parseSocks5Request,
  socks5Choice,
  socks5Greeting,
  socks5Login,
  socks5LoginAnswer,
  socks5Reply,
  socks5Request,
} from '#relay/proxies/socks5.ts'
import { type Parser, talkOver } from '#relay/proxies/talk.ts'
import { openContext } from '#test/resources/contexts.ts'

/** A parser, and what it makes of words that are right. */
interface Language {
  readonly parse: Parser<unknown>
  readonly words: fc.Arbitrary<{ bytes: Buffer; value: unknown }>
  /** It must have said something about as many bytes, whatever they are. */
  readonly limit: number
}

const port = fc.integer({ min: 0, max: 65_535 })
const ipv4 = fc.ipV4()
const ipv6 = fc.ipV6().map(text => canonicalIp(text)!)
const name = fc.stringMatching(/^[a-z0-9.-]{1,255}$/)
const text = (maxLength: number) => fc.string({ unit: fc.constantFrom(...'abc:@ '), maxLength })

const ip = fc.oneof(ipv4, ipv6)
const ends = fc.record({ source: fc.record({ ip, port }), destination: fc.record({ ip, port }) })

const socks5Codes = fc.integer({ min: 0, max: 255 })

const languages: Record<string, Language> = {
  'SOCKS4 request': {
    parse: parseSocks4Request,
    words: fc
      .record({ host: fc.oneof(ipv4, name), port, user: text(255) })
      .filter(({ host }) => !/^0\.0\.0\./.test(host))
      .map(request => ({ bytes: socks4Request(request), value: { command: 1, ...request } })),
    limit: 1_024,
  },
  'SOCKS4 reply': {
    parse: parseSocks4Reply,
    words: fc.boolean().map(granted => ({
      bytes: socks4Reply(granted),
      value: granted ? undefined : 'request rejected or failed (91)',
    })),
    limit: 8,
  },
  'SOCKS5 greeting': {
    parse: parseSocks5Greeting,
    words: fc
      .array(fc.integer({ min: 0, max: 255 }), { maxLength: 255 })
      .map(offered => ({ bytes: socks5Greeting(offered), value: offered })),
    limit: 257,
  },
  'SOCKS5 choice': {
    parse: parseSocks5Choice,
    words: fc.integer({ min: 0, max: 255 }).map(method => ({ bytes: socks5Choice(method), value: method })),
    limit: 2,
  },
  'SOCKS5 login': {
    parse: parseSocks5Login,
    words: fc
      .record({ user: text(255), password: text(255) })
      .map(login => ({ bytes: socks5Login(login), value: login })),
    limit: 513,
  },
  'SOCKS5 answer to a login': {
    parse: parseSocks5LoginAnswer,
    words: fc.boolean().map(welcome => ({ bytes: socks5LoginAnswer(welcome), value: welcome })),
    limit: 2,
  },
  'SOCKS5 request': {
    parse: parseSocks5Request,
    words: fc
      .record({ host: fc.oneof(ipv4, ipv6, name), port })
      .map(({ host, port }) => ({ bytes: socks5Request(host, port), value: { command: 1, host, port } })),
    limit: 262,
  },
  'SOCKS5 reply': {
    parse: parseSocks5Reply,
    words: socks5Codes.map(code => ({
      bytes: socks5Reply(code),
      value: { code, text: expect.stringContaining(`(${code})`) },
    })),
    limit: 262,
  },
  'PROXY header of version 1': {
    parse: parseProxyHeader,
    words: fc.option(ends, { nil: undefined }).map(ends => ({ bytes: proxyHeader('v1', ends), value: ends })),
    limit: 107,
  },
  'PROXY header of version 2': {
    parse: parseProxyHeader,
    words: fc
      .record({
        ends: fc.option(ends, { nil: undefined }),
        extras: fc.array(fc.uint8Array({ maxLength: 30 }), { maxLength: 3 }),
        isSummed: fc.boolean(),
      })
      .map(({ ends, extras, isSummed }) => ({
        bytes: withExtras(proxyHeader('v2', ends), extras, isSummed),
        value: ends,
      })),
    limit: 16_400,
  },
  'HTTP answer': {
    parse: connectAnswer(false),
    words: fc
      .record({
        status: fc.integer({ min: 100, max: 599 }),
        reason: text(40),
        headers: fc.array(fc.stringMatching(/^[a-z-]{1,20}: [ -~]{0,40}$/), { maxLength: 8 }),
      })
      .map(({ status, reason, headers }) => {
        const statusLine = `HTTP/1.1 ${status} ${reason}`
        const bytes = Buffer.from([statusLine, ...headers, '', ''].join('\r\n'))
        return { bytes, value: { status, statusLine } }
      }),
    limit: 16_384,
  },
}

/** What proxies add to a header of version 2: kinds that nobody here knows, and a checksum over all of it. */
function withExtras(header: Buffer, extras: readonly Uint8Array[], isSummed: boolean): Buffer {
  const fields = extras.map((extra, kind) =>
    Buffer.concat([Buffer.from([0xe0 + kind, 0, extra.length]), extra]),
  )
  if (isSummed) fields.unshift(Buffer.from([3, 0, 4, 0, 0, 0, 0]))
  const bytes = Buffer.concat([header, ...fields])
  bytes.writeUInt16BE(bytes.length - 16, 14)
  if (isSummed) bytes.writeUInt32BE(crc32c(bytes), header.length + 3)
  return bytes
}

test('the checksum is the one of the protocol', () => {
  expect(crc32c(Buffer.from('123456789')).toString(16)).toBe('e3069283')
})

describe('a PROXY header is refused', () => {
  const ends = { source: { ip: '192.0.2.1', port: 1 }, destination: { ip: '192.0.2.2', port: 2 } }
  const v2 = proxyHeader('v2', ends)
  const altered = (at: number, ...bytes: number[]) => {
    const copy = Buffer.from(v2)
    copy.set(bytes, at)
    return copy
  }
  const summed = withExtras(v2, [], true)
  test.each<[string, string | Buffer, string]>([
    ['that is none', 'GET / HTTP/1.1\r\n\r\n', 'does not begin with'],
    ['without its line end', `PROXY TCP4 ${'1'.repeat(200)}`, 'too long'],
    ['with a name', 'PROXY TCP4 localhost 192.0.2.1 1 2\r\n', 'damaged'],
    ['with an odd spelling of an IP', 'PROXY TCP4 0x7f.1 192.0.2.1 1 2\r\n', 'damaged'],
    ['with leading zeros', 'PROXY TCP4 127.0.0.010 192.0.2.1 1 2\r\n', 'damaged'],
    ['of another IP version than it says', 'PROXY TCP4 ::1 ::1 1 2\r\n', 'damaged'],
    ['with a zone', 'PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n', 'damaged'],
    ['with a port that is none', 'PROXY TCP4 192.0.2.1 192.0.2.1 1 65536\r\n', 'a port that is none'],
    ['with more than it should have', 'PROXY TCP4 192.0.2.1 192.0.2.1 1 2 3\r\n', 'damaged'],
    ['of another transport', 'PROXY UDP4 192.0.2.1 192.0.2.1 1 2\r\n', 'damaged'],
    ['with an unknown command', altered(12, 0x22), 'unknown command'],
    ['of another version', altered(12, 0x11), 'unknown command'],
    ['of an unknown family', altered(13, 0x41), 'unknown kind'],
    ['of an unknown transport', altered(13, 0x13), 'unknown kind'],
    ['shorter than its addresses', altered(14, 0, 11), 'unknown kind'],
    ['with half an extra', withExtras(v2, [Buffer.alloc(9)], false).fill(10, 30, 31), 'damaged'],
    ['with a wrong checksum', Buffer.from(summed).fill(1, 16, 17), 'wrong checksum'],
    ['that is far too long', altered(14, 0xff, 0xff), 'too long'],
  ])('%s', (_, bytes, problem) => {
    expect(parseProxyHeader(Buffer.from(bytes as string))).toEqual({
      problem: expect.stringContaining(problem),
    })
  })

  test.each<[string, string | Buffer]>([
    ['UNKNOWN of version 1', 'PROXY UNKNOWN whatever it says\r\n'],
    ['UNKNOWN of version 1, short', 'PROXY UNKNOWN\r\n'],
    ['LOCAL of version 2', altered(12, 0x20)],
    ['LOCAL of version 2 with a family that nobody knows', altered(12, 0x20, 0xff)],
    ['no family of version 2', altered(13, 0)],
  ])('but not %s, which names nobody', (_, bytes) => {
    const all = Buffer.from(bytes as string)
    expect(parseProxyHeader(all)).toEqual({ value: undefined, length: all.length })
  })
})

describe.each(Object.entries(languages))('the parser of a %s', (_, { parse, words, limit }) => {
  test('reads what was written, whatever follows, and waits for each byte of it', () => {
    fc.assert(
      fc.property(words, fc.uint8Array({ maxLength: 20 }), ({ bytes, value }, more) => {
        expect(parse(Buffer.concat([bytes, more]))).toEqual({ value, length: bytes.length })
        for (let end = 0; end < bytes.length; end++) expect(parse(bytes.subarray(0, end))).toBeUndefined()
      }),
      { numRuns: 200 },
    )
  })

  test('makes no difference between one chunk and many, and reads no byte too many', async () => {
    await fc.assert(
      fc.asyncProperty(
        words,
        fc.uint8Array({ maxLength: 20 }),
        fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 8 }),
        async ({ bytes, value }, more, sizes) => {
          const [near, far] = memoryPair({ text: 'memory:near' }, { text: 'memory:far' })
          await using _far = far
          await using _near = near
          const all = Buffer.concat([bytes, more])
          for (let at = 0, turn = 0; at < all.length; turn++) {
            const size = sizes[turn % sizes.length]!
            far.stream.write(all.subarray(at, at + size))
            at += size
          }
          far.stream.end()
          const options = { what: 'the test', language: 'test', misspoken: 'usage', withinMs: 5_000 } as const
          const heard = await talkOver(near, openContext(), options, talk => talk.hear(parse))
          expect(heard).toEqual(value)
          const rest: Buffer[] = []
          for await (const chunk of near.stream) rest.push(chunk)
          expect(Buffer.concat(rest)).toEqual(Buffer.from(more))
        },
      ),
      { numRuns: 50 },
    )
  })

  test('survives whatever else comes, and asks for no more than it needs', () => {
    const mutated = fc
      .tuple(words, fc.array(fc.tuple(fc.nat(600), fc.integer({ min: 0, max: 255 })), { maxLength: 4 }))
      .map(([{ bytes }, changes]) => {
        for (const [at, byte] of changes) if (at < bytes.length) bytes[at] = byte
        return bytes
      })
    const any = fc.oneof(mutated, fc.uint8Array({ maxLength: 700 }).map(Buffer.from))
    fc.assert(
      fc.property(any, bytes => {
        const parsed = parse(bytes)
        if (parsed === undefined || 'problem' in parsed) return
        expect(parsed.length).toBeLessThanOrEqual(bytes.length)
        expect(parse(bytes.subarray(0, parsed.length))).toEqual(parsed)
      }),
      { numRuns: 2_000 },
    )
    fc.assert(
      fc.property(any, fc.integer({ min: 0, max: 255 }), (bytes, filler) => {
        expect(parse(Buffer.concat([bytes, Buffer.alloc(limit, filler)]))).toBeDefined()
      }),
      { numRuns: 1_000 },
    )
  })
})

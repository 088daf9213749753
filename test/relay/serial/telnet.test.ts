import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Negotiation, negotiation } from '#relay/serial/negotiation.ts'
import {
  escaped,
  lineEndWriter,
  longestSubnegotiation,
  optionBytes,
  subnegotiationBytes,
  telnetParser,
  type Verb,
} from '#relay/serial/telnet.ts'

/** What is heard, with data in one piece wherever nothing is said in between. */
function hear(chunks: readonly Buffer[], { binary = false } = {}) {
  const heard: (string | { data: string })[] = []
  const parser = telnetParser({
    data(bytes) {
      const last = heard.at(-1)
      const text = bytes.toString('latin1')
      if (typeof last === 'object') last.data += text
      else heard.push({ data: text })
    },
    command: code => heard.push(`command ${code}`),
    option: (verb, option) => heard.push(`${verb} ${option}`),
    subnegotiation: (option, payload) => heard.push(`sub ${option} ${payload.toString('hex')}`),
  })
  parser.binary = binary
  for (const chunk of chunks) parser.take(chunk)
  return heard
}

const conversation = Buffer.concat([
  Buffer.from('login\r\0and\r\nmore\r', 'latin1'),
  optionBytes('will', 44),
  Buffer.of(0, 1, 255, 255, 255, 255, 2),
  subnegotiationBytes(44, Buffer.of(1, 0, 255, 255, 255)),
  Buffer.of(255, 243, 255, 246),
  Buffer.of(255, 250, 44, 9, 255, 253, 3),
  subnegotiationBytes(44, Buffer.alloc(0)),
  Buffer.from('end\r', 'latin1'),
  optionBytes('dont', 1),
])

const understood = [
  { data: 'login\rand\r\nmore\r' },
  'will 44',
  { data: '\x01\xff\xff\x02' },
  'sub 44 0100ffffff',
  'command 243',
  'command 246',
  // Its end was missing, and what came instead is heard.
  'do 3',
  'sub 44 ',
  { data: 'end\r' },
  'dont 1',
]

const chunked = (bytes: Buffer, cuts: readonly number[]): Buffer[] => {
  const places = [0, ...cuts.map(cut => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]
  return places.slice(1).map((end, at) => bytes.subarray(places[at], end))
}

describe('the parser', () => {
  test('hears the same wherever a conversation is cut', () => {
    expect(hear([conversation])).toEqual(understood)
    for (let cut = 0; cut <= conversation.length; cut++) {
      expect(hear([conversation.subarray(0, cut), conversation.subarray(cut)])).toEqual(understood)
    }
    expect(hear([...conversation].map(byte => Buffer.of(byte)))).toEqual(understood)
  })

  test('hands on plain data without a copy', () => {
    const chunk = Buffer.from('plain data')
    let got: Buffer | undefined
    const parser = telnetParser({
      data: bytes => {
        got = bytes
      },
      command() {},
      option() {},
      subnegotiation() {},
    })
    parser.take(chunk)
    expect(got?.buffer).toBe(chunk.buffer)
    expect(escaped(chunk)).toBe(chunk)
  })

  test('leaves out a subnegotiation that is too long, and hears what follows', () => {
    const long = subnegotiationBytes(44, Buffer.alloc(longestSubnegotiation + 1, 7))
    const fits = subnegotiationBytes(44, Buffer.alloc(longestSubnegotiation, 7))
    expect(hear([long, Buffer.from('after')])).toEqual([{ data: 'after' }])
    expect(hear([fits])).toEqual([`sub 44 ${'07'.repeat(longestSubnegotiation)}`])
  })

  test('keeps nothing of a flood without an end', () => {
    const heard = hear([
      Buffer.of(255, 250, 44),
      ...Array.from({ length: 64 }, () => Buffer.alloc(65_536, 1)),
    ])
    expect(heard).toEqual([])
  })

  test('reads back what was written, however it is cut, in binary and with line ends', () => {
    const special = fc.constantFrom(255, 255, 13, 10, 0, 250, 240, 65)
    const byte = fc.oneof(special, fc.integer({ min: 0, max: 255 }))
    fc.assert(
      fc.property(
        fc.array(fc.array(byte, { maxLength: 40 })),
        fc.array(fc.nat(), { maxLength: 8 }),
        fc.boolean(),
        (writes, cuts, binary) => {
          const lineEnds = lineEndWriter()
          const buffers = writes.map(write => Buffer.from(write))
          const sent = Buffer.concat(buffers.map(write => escaped(binary ? write : lineEnds(write))))
          const data = Buffer.concat(buffers).toString('latin1')
          expect(hear(chunked(sent, cuts), { binary })).toEqual(data === '' ? [] : [{ data }])
        },
      ),
    )
  })

  test('hears the same of any junk, however it is cut', () => {
    const byte = fc.oneof(fc.constantFrom(255, 250, 240, 251, 44, 13, 0), fc.integer({ min: 0, max: 255 }))
    fc.assert(
      fc.property(
        fc.array(byte, { maxLength: 200 }),
        fc.array(fc.nat(), { maxLength: 8 }),
        fc.boolean(),
        (bytes, cuts, binary) => {
          const junk = Buffer.from(bytes)
          expect(hear(chunked(junk, cuts), { binary })).toEqual(hear([junk], { binary }))
        },
      ),
    )
  })
})

describe('the negotiation', () => {
  const side = (allowed: readonly number[], send: (verb: Verb, option: number) => void): Negotiation =>
    negotiation({
      allowed: { us: allowed, them: allowed },
      send: ([, verb, option]) => send((['will', 'wont', 'do', 'dont'] as const)[verb! - 251]!, option!),
      settled() {},
    })

  test('ends, whatever two sides wish and allow, and both then think the same', () => {
    const options = fc.uniqueArray(fc.integer({ min: 0, max: 4 }))
    const wishes = fc.array(fc.tuple(fc.boolean(), fc.boolean(), fc.integer({ min: 0, max: 4 })), {
      maxLength: 12,
    })
    fc.assert(
      fc.property(options, options, wishes, (allowedA, allowedB, wished) => {
        const onTheWay: (() => void)[] = []
        const a = side(allowedA, (verb, option) => onTheWay.push(() => b.heard(verb, option)))
        const b = side(allowedB, (verb, option) => onTheWay.push(() => a.heard(verb, option)))
        for (const [byA, us, option] of wished) (byA ? a : b).wish(us ? 'us' : 'them', option)
        for (let said = 0; onTheWay.length > 0; said++) {
          expect(said).toBeLessThan(100)
          onTheWay.shift()!()
        }
        for (let option = 0; option <= 4; option++) {
          expect(a.isOn('us', option)).toBe(b.isOn('them', option))
          expect(a.isOn('them', option)).toBe(b.isOn('us', option))
        }
      }),
    )
  })

  test('refuses what it does not know once, and says nothing to a refusal', () => {
    const said: string[] = []
    const one = side([44], (verb, option) => said.push(`${verb} ${option}`))
    for (const verb of ['do', 'do', 'will', 'dont', 'wont', 'do'] as const) one.heard(verb, 24)
    expect(said).toEqual(['wont 24', 'dont 24'])
  })

  test('agrees again after it was taken back', () => {
    const said: string[] = []
    const one = side([44], (verb, option) => said.push(`${verb} ${option}`))
    for (const verb of ['do', 'do', 'dont', 'dont', 'do'] as const) one.heard(verb, 44)
    expect(said).toEqual(['will 44', 'wont 44', 'will 44'])
  })

  test('comes to rest when each end hears yes and no from the other at a time', () => {
    const onTheWay: (() => void)[] = []
    const a = side([44], (verb, option) => onTheWay.push(() => b.heard(verb, option)))
    const b = side([44], (verb, option) => onTheWay.push(() => a.heard(verb, option)))
    for (const end of [a, b]) for (const verb of ['do', 'dont'] as const) end.heard(verb, 44)
    for (let said = 0; onTheWay.length > 0; said++) {
      expect(said).toBeLessThan(200)
      onTheWay.shift()!()
    }
  })
})

import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { frame, type Kind, kinds, mostData, openFrameReader } from '#tunnel/frames.ts'

interface Told {
  readonly kind: Kind
  readonly stream: number
  readonly payload: string
}

/** Streams with an even number are datagrams: their frames come whole. */
function reading() {
  const told: Told[] = []
  const pieces = new Map<number, Buffer[]>()
  const reader = openFrameReader({
    isWhole: stream => stream % 2 === 0,
    data(stream, bytes) {
      if (stream % 2 === 0) told.push({ kind: kinds.data, stream, payload: bytes.toString('hex') })
      else pieces.set(stream, [...(pieces.get(stream) ?? []), Buffer.from(bytes)])
    },
    words: (kind, stream, payload) => void told.push({ kind, stream, payload: payload.toString('hex') }),
  })
  const streams = () => new Map([...pieces].map(([id, all]) => [id, Buffer.concat(all).toString('hex')]))
  return { reader, told, streams }
}

const anyFrame = fc.record({
  kind: fc.constantFrom(...Object.values(kinds)),
  stream: fc.oneof(fc.integer({ min: 0, max: 4 }), fc.integer({ min: 0, max: 0xffff_ffff })),
  payload: fc.uint8Array({ maxLength: 300 }),
})

describe('frames', () => {
  test('are read as they were made, wherever their bytes are split', () => {
    const property = fc.property(
      fc.array(anyFrame, { maxLength: 20 }),
      fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 30 }),
      (frames, sizes) => {
        const bytes = Buffer.concat(frames.map(each => frame(each.kind, each.stream, each.payload)))
        const whole = reading()
        whole.reader.read(bytes)
        const split = reading()
        for (let at = 0, turn = 0; at < bytes.length; turn++) {
          const size = sizes[turn % sizes.length]!
          split.reader.read(bytes.subarray(at, at + size))
          at += size
        }
        const inWords = frames
          .filter(({ kind, stream }) => kind !== kinds.data || stream % 2 === 0)
          .map(each => ({ ...each, payload: Buffer.from(each.payload).toString('hex') }))
        expect(whole.told).toEqual(inWords)
        expect(split.told).toEqual(inWords)
        expect(split.streams()).toEqual(whole.streams())
      },
    )
    fc.assert(property, { numRuns: 500, verbose: true })
  })

  test('are read when each byte comes by itself, and when they are split in two at each byte', () => {
    const frames = [
      frame(kinds.ping, 0),
      frame(kinds.data, 2),
      frame(kinds.data, 2, randomBytes(3)),
      frame(kinds.credit, 1, Buffer.from([0, 0, 1, 0])),
      frame(kinds.data, 4, randomBytes(9)),
      frame(kinds.end, 0xffff_ffff),
    ]
    const bytes = Buffer.concat(frames)
    const expected = reading()
    expected.reader.read(bytes)
    expect(expected.told).toHaveLength(frames.length)
    const single = reading()
    for (let at = 0; at < bytes.length; at++) single.reader.read(bytes.subarray(at, at + 1))
    expect(single.told).toEqual(expected.told)
    for (let at = 0; at <= bytes.length; at++) {
      const { reader, told } = reading()
      reader.read(bytes.subarray(0, at))
      reader.read(bytes.subarray(at))
      expect(told).toEqual(expected.told)
    }
  })

  test('of a stream are handed on in pieces, before they are whole', () => {
    const { reader, streams } = reading()
    const bytes = frame(kinds.data, 1, Buffer.from('half of it'))
    reader.read(bytes.subarray(0, 12))
    expect(streams().get(1)).toBe(Buffer.from('half').toString('hex'))
  })

  test('may be as long as a datagram, and not a byte longer', () => {
    const { reader, told } = reading()
    reader.read(frame(kinds.data, 2, Buffer.alloc(mostData)))
    expect(told[0]?.payload).toHaveLength(2 * mostData)
    const tooLong = Buffer.from([kinds.data, 0x01, 0x00, 0x01, 0, 0, 0, 2])
    expect(() => reader.read(tooLong)).toThrow(/65537 bytes/)
  })

  test('that are too long are refused by their head, before anything is kept of them', () => {
    for (const kind of Object.values(kinds)) {
      const { reader, told } = reading()
      expect(() => reader.read(Buffer.from([kind, 0xff, 0xff, 0xff, 0, 0, 0, 1]))).toThrow(/is the most/)
      expect(told).toEqual([])
    }
  })

  test('of a kind that there is not are refused', () => {
    const there = new Set<number>(Object.values(kinds))
    for (let kind = 0; kind < 256; kind++) {
      if (there.has(kind)) continue
      const read = () => reading().reader.read(Buffer.from([kind, 0, 0, 0, 0, 0, 0, 0]))
      expect(read).toThrow(expect.objectContaining({ code: 'reset' }))
    }
  })

  test('are all that junk can be taken for: it is read or refused, and nothing else is thrown', () => {
    const property = fc.property(fc.array(fc.uint8Array({ maxLength: 100 })), chunks => {
      const { reader } = reading()
      try {
        for (const chunk of chunks) reader.read(Buffer.from(chunk))
      } catch (thrown) {
        expect(thrown).toMatchObject({ name: 'RelayError', code: 'reset' })
      }
    })
    fc.assert(property, { numRuns: 2_000, verbose: true })
  })
})

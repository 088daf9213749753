import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { describe, expect, test } from 'vitest'
import type { Channel } from '#relay/endpoint.ts'
import { memoryPair } from '#relay/endpoints/memory-pair.ts'
import { RelayError } from '#relay/errors.ts'
import { pump } from '#relay/pump.ts'
import { until } from '#test/resources/until.ts'
import type { Pair } from './endpoint.ts'

/** What the suite needs to know of a kind of datagrams. */
export interface DatagramHarness {
  open(): Promise<Pair>
  /** It can be answered; otherwise only `far` can speak. */
  readonly answers: boolean
  /** The largest datagram that it carries. */
  readonly largest: number
}

const reason = new RelayError('revoked', { what: 'the conversation', why: 'the test says so' })

/** What every channel of datagrams promises; they may be lost on the way, but not by a reader that keeps up. */
export function datagramConformance(name: string, { open, answers, largest }: DatagramHarness): void {
  const ways = answers ? (['in', 'out'] as const) : (['in'] as const)

  describe(`${name} keeps the contract of a channel of datagrams`, () => {
    for (const way of ways) {
      const ends = ({ near, far }: Pair): [from: Channel, to: Channel] =>
        way === 'out' ? [near, far] : [far, near]

      test(`each datagram arrives as one chunk, in order, empty ones too, ${way}`, async () => {
        await using pair = await open()
        const [from, to] = ends(pair)
        const sent = [1, 0, 1_472, 0, 0, 8_193, 7].map(size => randomBytes(size))
        const got = collect(to)
        for (const datagram of sent) await write(from, datagram)
        await until('all have arrived', () => got.length === sent.length)
        expect(got.map(hex)).toEqual(sent.map(hex))
      })

      test(`the largest datagram arrives whole, ${way}`, async () => {
        await using pair = await open()
        const [from, to] = ends(pair)
        const datagram = randomBytes(largest)
        const got = collect(to)
        await write(from, datagram)
        await until('it has arrived', () => got.length === 1)
        expect(got[0]?.equals(datagram)).toBe(true)
      })

      test(`what comes before anybody reads is kept apart too, ${way}`, async () => {
        await using pair = await open()
        const [from, to] = ends(pair)
        for (const text of ['one', '', 'three']) await write(from, Buffer.from(text))
        await until('they have arrived', () => to.stream.readableLength === 3)
        const got = collect(to)
        await until('they were read', () => got.length === 3)
        expect(got.map(String)).toEqual(['one', '', 'three'])
      })

      test(`a reader that does not read costs a bounded memory, and reads on later, ${way}`, async () => {
        await using pair = await open()
        const [from, to] = ends(pair)
        const datagram = Buffer.alloc(8_192, 1)
        for (let sent = 0; sent < 16 * 1_048_576; sent += datagram.length) await write(from, datagram)
        const got = collect(to)
        await until('what was kept has been read', () => got.length > 0 && to.stream.readableLength === 0)
        expect(got.length * datagram.length).toBeLessThan(1_048_576)
        const before = got.length
        await until('it goes on', async () => {
          await write(from, Buffer.from('and now'))
          return got.length > before && String(got.at(-1)) === 'and now'
        })
      })

      test(`a pump keeps the boundaries, ${way}`, async () => {
        await using first = await open()
        await using second = await open()
        const [from, left] = ends(first)
        const [right, to] = way === 'out' || !answers ? [second.far, second.near] : [second.near, second.far]
        const controller = new AbortController()
        const end = pump(left, right, {}, controller.signal)
        const got = collect(to)
        for (const text of ['a', '', 'bc', 'def']) await write(from, Buffer.from(text))
        await until('all have arrived', () => got.length === 4)
        expect(got.map(String)).toEqual(['a', '', 'bc', 'def'])
        controller.abort(reason)
        expect(await end).toMatchObject({ end: 'revoked', sent: 6 })
      })

      test(`after an abort nothing more is handed over, ${way}`, async () => {
        await using pair = await open()
        const [from, to] = ends(pair)
        const got = collect(to)
        await write(from, Buffer.from('before'))
        await until('it has arrived', () => got.length === 1)
        to.abort(reason)
        to.abort(reason)
        expect(to.stream.destroyed).toBe(true)
        await write(from, Buffer.from('after')).catch(() => {})
        await to[Symbol.asyncDispose]()
        to.abort(reason)
        expect(got.map(String)).toEqual(['before'])
      })
    }

    test('disposal closes, may be repeated, and closes the descriptors', async () => {
      await using pair = await open()
      await pair.near[Symbol.asyncDispose]()
      await pair.near[Symbol.asyncDispose]()
      expect(pair.near.stream.closed).toBe(true)
    })

    test('a silent conversation ends by its idle limit', async () => {
      await using pair = await open()
      const [inner, outer] = memoryPair({ text: 'memory:inner' }, { text: 'memory:outer' })
      await using _outer = outer
      await using _inner = inner
      const end = pump(pair.near, inner, { idleMs: 30 }, new AbortController().signal)
      expect(await end).toEqual({ end: 'idle', sent: 0, received: 0 })
    })

    test('a stream on the other side gets the bytes, and says all of its own', async () => {
      await using pair = await open()
      const [inner, outer] = memoryPair({ text: 'memory:inner' }, { text: 'memory:outer' })
      await using _outer = outer
      await using _inner = inner
      const controller = new AbortController()
      const end = pump(pair.near, inner, {}, controller.signal)
      const read: Buffer[] = []
      outer.stream.on('data', (chunk: Buffer) => read.push(chunk))
      await write(pair.far, Buffer.from('one '))
      await write(pair.far, Buffer.alloc(0))
      await write(pair.far, Buffer.from('two'))
      await until('the bytes are there', () => String(Buffer.concat(read)) === 'one two')
      if (answers) {
        const long = randomBytes(100_000)
        const got = collect(pair.far)
        outer.stream.write(long)
        await until('all came', () => Buffer.concat(got).length === long.length)
        expect(Buffer.concat(got).equals(long)).toBe(true)
        expect(Math.max(...got.map(({ length }) => length))).toBe(8_192)
      }
      controller.abort(reason)
      await end
    })
  })
}

/** Every chunk that the channel hands over from now on. */
export function collect({ stream }: Channel): Buffer[] {
  const got: Buffer[] = []
  stream.on('data', (datagram: Buffer) => got.push(datagram))
  return got
}

/** The next datagram, and no more than that. */
export async function next({ stream }: Channel): Promise<Buffer> {
  for (;;) {
    const datagram = stream.read()
    if (datagram !== null) return datagram
    await once(stream, 'readable')
  }
}

/** Writes one datagram and waits until the kernel has it. */
export function write({ stream }: Channel, datagram: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(datagram, error => (error ? reject(error) : resolve()))
  })
}

function hex(datagram: Buffer): string {
  return `${datagram.length}:${datagram.toString('hex', 0, 32)}`
}

import { createHash, randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { Channel, Endpoint, Listener } from '#relay/endpoint.ts'
import { memoryPair } from '#relay/endpoints/memory-pair.ts'
import { RelayError } from '#relay/errors.ts'
import { pump } from '#relay/pump.ts'
import { openContext } from '#test/resources/contexts.ts'
import { digest, ended, failureOf, receive, send, writeUntilStalled } from '#test/resources/streams.ts'

/** One conversation, from both of its ends. */
export interface Pair extends AsyncDisposable {
  /** The end that is held against the contract. */
  readonly near: Channel
  readonly far: Channel
}

/** What the suite needs to know of a kind. Leave out what the kind does not have. */
export interface Harness {
  open(): Promise<Pair>
  /** An abort reaches the peer as a reset; otherwise the peer just sees the end. */
  readonly resets: boolean
  /** The code that the peer sees of a reset, where it is told why: `ECONNRESET` if absent. */
  readonly resetCode?: string
  /** A listener that serves many, and how it is reached. */
  readonly listening?: () => { endpoint: Endpoint; dialer(listener: Listener): Endpoint }
  /** What cannot be dialled, and the code of its refusal. */
  readonly unreachable?: () => { endpoint: Endpoint; code: string }
}

const mebibyte = 1_048_576
/** More than any kernel keeps for a reader that does not read, and little for a process. */
const stallLimit = 64 * mebibyte
const reason = new RelayError('revoked', { what: 'the connection', why: 'the test says so' })

/** What every kind of endpoint promises. */
export function conformance(name: string, harness: Harness): void {
  const { resetCode = 'ECONNRESET' } = harness

  describe(`${name} keeps the contract of a channel`, () => {
    for (const size of [0, 1, 65_537]) {
      test(`${size} bytes each way arrive as they were`, async () => {
        await using pair = await harness.open()
        const { near, far } = pair
        const [there, back] = [randomBytes(size), randomBytes(size)]
        near.stream.end(there)
        far.stream.end(back)
        const [atFar, atNear] = await Promise.all([receive(far.stream), receive(near.stream)])
        expect(atFar.equals(there)).toBe(true)
        expect(atNear.equals(back)).toBe(true)
      })
    }

    for (const toFar of [true, false]) {
      const way = toFar ? 'out' : 'in'
      test(`64 MiB in odd pieces arrive byte by byte, ${way}`, async () => {
        await using pair = await harness.open()
        const [from, to] = toFar ? [pair.near, pair.far] : [pair.far, pair.near]
        const sent = createHash('sha256')
        const received = digest(to.stream)
        await send(
          from.stream,
          oddPieces(64 * mebibyte, piece => sent.update(piece)),
        )
        from.stream.end()
        expect(await received).toEqual({ bytes: 64 * mebibyte, sha256: sent.digest('hex') })
      })

      test(`the end of one direction leaves the other open, ${way}`, async () => {
        await using pair = await harness.open()
        const [first, last] = toFar ? [pair.near, pair.far] : [pair.far, pair.near]
        first.stream.end('the question')
        expect((await receive(last.stream)).toString()).toBe('the question')
        const reply = randomBytes(mebibyte)
        last.stream.end(reply)
        expect((await receive(first.stream)).equals(reply)).toBe(true)
      })

      test(`a reader that does not read stalls the writer, ${way}, and loses nothing`, async () => {
        await using pair = await harness.open()
        const [from, to] = toFar ? [pair.near, pair.far] : [pair.far, pair.near]
        const taken = await writeUntilStalled(from.stream, stallLimit)
        expect(taken).toBeLessThanOrEqual(stallLimit)
        expect(from.stream.writableLength).toBeLessThan(4 * mebibyte)
        from.stream.end()
        expect((await digest(to.stream)).bytes).toBe(taken)
      })
    }

    test('an abort is seen at the other end, and may be repeated', async () => {
      await using pair = await harness.open()
      const { near, far } = pair
      const seen = harness.resets ? failureOf(far.stream) : ended(far.stream)
      far.stream.resume()
      near.stream.resume()
      near.abort(reason)
      near.abort(reason)
      expect(await seen).toBe(harness.resets ? resetCode : undefined)
      await near[Symbol.asyncDispose]()
      near.abort(reason)
      expect(near.stream.destroyed).toBe(true)
    })

    test('an abort right after the end of writing still closes at once', async () => {
      await using pair = await harness.open()
      const { near } = pair
      near.stream.resume()
      near.stream.end('all said')
      await new Promise<void>(resolve => process.nextTick(resolve))
      near.abort(reason)
      await near[Symbol.asyncDispose]()
      expect(near.stream.destroyed).toBe(true)
    })

    test('an abort does not wait for a peer that does not read', async () => {
      await using pair = await harness.open()
      const { near, far } = pair
      await writeUntilStalled(near.stream, stallLimit)
      near.stream.end()
      near.abort(reason)
      await near[Symbol.asyncDispose]()
      if (harness.resets) {
        far.stream.resume()
        expect(await failureOf(far.stream)).toBe(resetCode)
      }
    })

    test('disposal closes, may be repeated, and is seen at the other end', async () => {
      await using pair = await harness.open()
      const { near, far } = pair
      const seen = ended(far.stream)
      await near[Symbol.asyncDispose]()
      await near[Symbol.asyncDispose]()
      expect(near.stream.destroyed).toBe(true)
      await seen
    })

    test('a silent conversation ends by its idle limit', async () => {
      await using pair = await harness.open()
      const [inner, outer] = memoryPair({ text: 'memory:inner' }, { text: 'memory:outer' })
      await using _outer = outer
      await using _inner = inner
      const end = pump(pair.near, inner, { idleMs: 30 }, new AbortController().signal)
      expect(await end).toEqual({ end: 'idle', sent: 0, received: 0 })
    })
  })

  const { listening, unreachable } = harness
  if (unreachable) {
    test(`${name}: a dial that fails says which address and why`, async () => {
      const { endpoint, code } = unreachable()
      const error = await endpoint.dialer!.dial(openContext()).catch((thrown: unknown) => thrown)
      expect(error).toBeInstanceOf(RelayError)
      expect(error).toMatchObject({ code, what: expect.stringContaining(endpoint.scope.text) })
    })
  }
  if (!listening) return

  describe(`${name} keeps the contract of a listener`, () => {
    test('disposal closes it at once, resets who waits, and spares who was taken', async () => {
      const { endpoint, dialer } = listening()
      const listener = await endpoint.acceptor!.listen(openContext())
      const target = dialer(listener)
      const arrivals = listener[Symbol.asyncIterator]()
      await using near = await target.dialer!.dial(openContext())
      const { value: taken } = await arrivals.next()
      await using _taken = taken as Channel
      await using untaken = await target.dialer!.dial(openContext())
      const reset = harness.resets ? failureOf(untaken.stream) : ended(untaken.stream)
      untaken.stream.resume()
      await listener[Symbol.asyncDispose]()
      expect((await arrivals.next()).done).toBe(true)
      expect(await reset).toBe(harness.resets ? 'ECONNRESET' : undefined)
      const { code } = unreachable?.() ?? { code: 'refused' }
      await expect(target.dialer!.dial(openContext())).rejects.toMatchObject({ code })
      near.stream.end('still here')
      expect((await receive((taken as Channel).stream)).toString()).toBe('still here')
    })

    test('its address can be listened on again as soon as it is disposed', async () => {
      const { endpoint } = listening()
      for (let round = 0; round < 3; round++) {
        await using listener = await endpoint.acceptor!.listen(openContext())
        expect(listener.local).toBeTruthy()
      }
    })

    test('a refused arrival is reset and never handed over', async () => {
      const { endpoint, dialer } = listening()
      let asked = 0
      const admit = () => ++asked > 1
      await using listener = await endpoint.acceptor!.listen(openContext({ admit }))
      await resetFor(dialer(listener), harness.resets)
      await using welcome = await dialer(listener).dialer!.dial(openContext())
      const { value } = await listener[Symbol.asyncIterator]().next()
      await using taken = value as Channel
      welcome.stream.end('hello')
      expect((await receive(taken.stream)).toString()).toBe('hello')
      expect(asked).toBe(2)
    })

    test('a dial that is called off leaves nothing behind', async () => {
      const { endpoint, dialer } = listening()
      await using listener = await endpoint.acceptor!.listen(openContext())
      const signal = AbortSignal.abort(reason)
      await expect(dialer(listener).dialer!.dial(openContext({ signal }))).rejects.toMatchObject({
        code: 'revoked',
      })
    })
  })
}

/**
 * Dials and is reset, or sees an end where the kind has no reset: by then the connection stood already, or it never
 * did, as the kernel's clock has it.
 */
export async function resetFor({ dialer }: Endpoint, resets = true): Promise<void> {
  const dialled = await dialer!.dial(openContext()).catch((error: RelayError) => error.code)
  if (dialled === 'reset') return
  if (typeof dialled === 'string') throw new Error(`expected a reset, got ${dialled}`)
  await using channel = dialled
  channel.stream.resume()
  if (!resets) return await ended(channel.stream)
  await closed(channel.stream)
  expect(channel.stream.errored).toMatchObject({ code: 'ECONNRESET' })
}

/** `once` of node:events would reject on the reset that is waited for here. */
async function closed(stream: Channel['stream']): Promise<void> {
  if (!stream.closed) await new Promise<void>(resolve => stream.once('close', () => resolve()))
}

/** Sizes that meet no buffer's edge. The bytes differ from place to place, so that a swap or a loss shows. */
function* oddPieces(total: number, seen: (piece: Buffer) => void): Generator<Buffer> {
  const source = randomBytes(mebibyte)
  const sizes = [1, 7, 4_095, 65_537, 131_071, 300_007]
  for (let left = total, turn = 0; left > 0; turn++) {
    const size = Math.min(left, sizes[turn % sizes.length]!)
    const start = (turn * 7_919) % (mebibyte - size)
    const piece = source.subarray(start, start + size)
    seen(piece)
    left -= size
    yield piece
  }
}

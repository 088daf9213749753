import type { Channel, Endpoint, OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { openScope } from '../scope.ts'
import { startTimer } from '../timer.ts'

/** The copies of what goes through one connection. Nothing that happens to them reaches the connection. */
export interface Tees {
  /** `bytes` must stay as they are from now on. */
  copy(bytes: Buffer): void
  /** No more will come: resolves when what is there has been written, or its time is over, and all is closed. */
  finish(): Promise<void>
  /** Closes all at once; `finish` then resolves. */
  abort(reason: RelayError): void
}

export interface TeeObserver {
  /** A copy was too slow for a piece. */
  lost(): void
  /** One could not be opened, or broke. */
  failed(error: RelayError): void
}

/** Bytes that may wait for one copy. */
const room = 1_048_576
/** How long a copy may take to write the rest when its connection has ended. */
const finishMs = 5_000

/** Opens all of them, and meanwhile keeps what comes. */
export function openTees(
  endpoints: readonly Endpoint[],
  client: Pick<Channel, 'framing'>,
  cx: OpenContext,
  observer: TeeObserver,
): Tees {
  const tees = endpoints.map(endpoint => openTee(endpoint, client, cx, observer))
  return {
    copy(bytes) {
      for (const tee of tees) tee.copy(bytes)
    },
    async finish() {
      await Promise.all(tees.map(tee => tee.finish()))
    },
    abort(reason) {
      for (const tee of tees) tee.abort(reason)
    },
  }
}

function openTee(
  { address, dialer }: Endpoint,
  client: Pick<Channel, 'framing'>,
  cx: OpenContext,
  observer: TeeObserver,
): Tees {
  const what = `tee ${address.text}`
  const scope = openScope(cx.signal)
  const { signal } = scope
  /** Kept while it is being opened. */
  let waiting: Buffer[] | undefined = []
  let waitingBytes = 0
  let channel: Channel | undefined
  let isOver = false

  const fail = (thrown: unknown) => {
    if (isOver) return
    isOver = true
    waiting = undefined
    if (!signal.aborted) observer.failed(RelayError.from(thrown, what).within(what))
  }

  const open = async () => {
    try {
      channel = await dialer!.dial({ ...cx, signal, uses: 'write' })
    } catch (thrown) {
      return fail(thrown)
    }
    const { stream } = channel
    if (client.framing === 'stream') channel.cutsStream?.()
    const gone = new RelayError('reset', { what, why: 'it was closed before the end' })
    // Only who reads notices that its peer has gone; what it says is for nobody.
    stream
      .on('error', fail)
      .on('close', () => fail(gone))
      .resume()
    const cut = () => channel?.abort(signal.reason)
    signal.addEventListener('abort', cut, { once: true })
    if (signal.aborted) return cut()
    for (const bytes of waiting ?? []) stream.write(bytes)
    waiting = undefined
  }
  const opened = open()

  const flushed = async () => {
    await opened
    const stream = channel?.stream
    if (!stream || isOver || stream.destroyed) return
    await new Promise<void>(resolve => {
      stream.once('close', () => resolve()).end(() => resolve())
    })
  }

  return {
    copy(bytes) {
      if (isOver || signal.aborted) return
      const taken = waiting ? waitingBytes : channel!.stream.writableLength
      if (taken + bytes.length > room) return observer.lost()
      if (!waiting) return void channel!.stream.write(bytes)
      waitingBytes += bytes.length
      waiting.push(bytes)
    },
    async finish() {
      const stopWaiting = startTimer(finishMs, () => {
        const late = new RelayError('timed-out', { what, why: 'it did not take the rest in time' })
        fail(late)
        scope.abort(late)
      })
      await flushed()
      stopWaiting()
      isOver = true
      await channel?.[Symbol.asyncDispose]()
      await scope[Symbol.asyncDispose]()
    },
    abort: scope.abort,
  }
}

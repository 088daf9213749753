import type { Duplex } from 'node:stream'
import type { Channel } from './endpoint.ts'
import { RelayError } from './errors.ts'
import { type Moved, startFlow, swallow } from './flow.ts'
import type { Direction } from './flow-settings.ts'
import { longestTimerMs } from './timer.ts'

/** Read afresh whenever a deadline is due, so they may be changed while a pump runs: see `Meter.recheck`. */
export interface PumpLimits {
  /** Without a byte either way for this long, the conversation ends. */
  readonly idleMs?: number | undefined
  /** Counted from when the meter was made. */
  readonly lifetimeMs?: number | undefined
  /** After one direction has ended: how long the other may go without progress. Each byte starts it anew. */
  readonly halfCloseMs?: number | undefined
  /**
   * Asked before each chunk, for timers may be late: a process that was stopped sees the bytes that came meanwhile
   * before it sees that its time is over. Answers why bytes may no longer pass; then both sides are cut.
   */
  readonly barrier?: (() => RelayError | undefined) | undefined
}

/** What a pump has done so far: live, plain numbers. Times are those of `performance.now()`. */
export interface Meter {
  /** Bytes from left to right. */
  sent: number
  /** Bytes from right to left. */
  received: number
  lastActiveAt: number
  readonly startedAt: number
  /** Sees all bytes while it is there; it may come and go at any time. */
  tap?: Tap | undefined
  /** Makes the pump look at its limits again, after they have changed. */
  recheck(): void
}

/**
 * Sees what goes each way while it goes: the bytes are valid during the call only. `from` is how many have gone that
 * way before. Must not throw.
 */
export type Tap = (direction: Direction, bytes: Buffer, from: number) => void

export interface PumpEnd {
  readonly end: 'eof' | 'idle' | 'lifetime' | 'revoked' | 'failed'
  readonly sent: number
  readonly received: number
  /** Of `failed`, what broke; of `revoked`, the reason that the signal was aborted with. */
  readonly error?: RelayError
}

/**
 * Five minutes: long enough for a server that thinks before it answers a client that has already said all, short
 * enough that peers which vanish after half a goodbye do not pile up.
 */
export const defaultHalfCloseMs = 300_000

export function newMeter(): Meter {
  const now = performance.now()
  return { sent: 0, received: 0, lastActiveAt: now, startedAt: now, tap: undefined, recheck: noop }
}

/**
 * Joins two channels until both directions have ended, a limit is reached, one side fails or the signal is
 * aborted. Never throws. Whoever holds the channels disposes them afterwards; when the conversation did not end
 * by itself and bytes may be missing, both have been aborted by then, so that no peer takes a cut for an end. With
 * `only`, bytes go that way and it alone has an end: see `FlowSettings.unidirectional`.
 */
export function pump(
  left: Channel,
  right: Channel,
  limits: PumpLimits,
  signal: AbortSignal,
  meter: Meter = newMeter(),
  only?: Direction,
): Promise<PumpEnd> {
  const a = left.stream
  const b = right.stream
  if (left.framing === 'stream') right.cutsStream?.()
  else right.mayLose?.()
  if (right.framing === 'stream') left.cutsStream?.()
  else left.mayLose?.()
  return new Promise(resolve => {
    let settled = false
    let timer: NodeJS.Timeout | undefined
    const noForward = left.oneWay === 'sink' || only === 'backward'
    const noBackward = right.oneWay === 'sink' || only === 'forward'
    let forwardEnded = noForward
    let backwardEnded = noBackward
    let oneEnded = false
    let stopForward = noop
    let stopBackward = noop

    // The end of one direction ends only the other side's write. The reply may still be on its way.
    const onLeftEnd = () => {
      if (noForward) return
      forwardEnded = true
      if (left.hangsUp) backwardEnded = true
      ended(b)
    }
    const onRightEnd = () => {
      if (noBackward) return
      backwardEnded = true
      if (right.hangsUp) forwardEnded = true
      ended(a)
    }
    const ended = (destination: Duplex) => {
      if (settled) return
      oneEnded = true
      meter.lastActiveAt = performance.now()
      if (!destination.writableEnded) destination.end()
      finishIfOver()
      if (!settled) checkDeadlines()
    }
    /** Over when all was read and all was handed to the kernel: `end` alone may leave bytes in our buffers. */
    const finishIfOver = () => {
      if (forwardEnded && backwardEnded && flushed(a) && flushed(b)) settle('eof')
    }

    const onLeftError = (error: Error) => fail(left, error)
    const onRightError = (error: Error) => fail(right, error)
    const onLeftClose = () => closed(left, forwardEnded && (a.writableFinished || noBackward))
    const onRightClose = () => closed(right, backwardEnded && (b.writableFinished || noForward))
    const closed = ({ peer }: Channel, complete: boolean) => {
      finishIfOver()
      if (settled || complete) return
      const why = 'it was closed before its end'
      settle('failed', new RelayError('reset', { what: `the connection with ${peer.text}`, why }))
    }
    const fail = ({ peer }: Channel, error: Error) => {
      settle('failed', RelayError.from(error, `the connection with ${peer.text}`))
    }
    const onAbort = () => settle('revoked', RelayError.from(signal.reason, 'the connection'))

    /**
     * One timer for all deadlines, set for the earliest. A byte moves only a timestamp; the timer that then comes
     * too early sets itself anew, so it costs nothing per byte and is exact all the same.
     */
    const checkDeadlines = () => {
      clearTimeout(timer)
      timer = undefined
      const now = performance.now()
      const lifetimeAt = meter.startedAt + (limits.lifetimeMs || Infinity)
      const halfCloseMs = oneEnded ? (limits.halfCloseMs ?? defaultHalfCloseMs) : Infinity
      const idleAt = meter.lastActiveAt + Math.min(limits.idleMs || Infinity, halfCloseMs)
      if (now >= lifetimeAt) return settle('lifetime')
      if (now >= idleAt) return settle('idle')
      const next = Math.min(lifetimeAt, idleAt)
      if (next < Infinity) timer = setTimeout(checkDeadlines, Math.min(Math.ceil(next - now), longestTimerMs))
    }

    const settle = (end: PumpEnd['end'], error?: RelayError) => {
      if (settled) return
      settled = true
      clearTimeout(timer)
      meter.recheck = noop
      signal.removeEventListener('abort', onAbort)
      stopForward()
      stopBackward()
      // An idle conversation with nothing left to deliver may part with an ordinary goodbye; all others lack bytes.
      if (end !== 'eof' && (end !== 'idle' || a.writableLength > 0 || b.writableLength > 0)) {
        const why = end === 'idle' ? 'it was idle for too long' : 'it has reached its greatest age'
        const reason = error ?? new RelayError('closed', { what: 'the connection', why })
        left.abort(reason)
        right.abort(reason)
      }
      const { sent, received } = meter
      resolve(error ? { end, sent, received, error } : { end, sent, received })
    }

    const barred = () => {
      const why = limits.barrier?.()
      if (why) settle('revoked', why)
      return why !== undefined
    }

    // These stay when the pump has settled, and then do nothing: a late error has nobody to tell, and an error that
    // nobody hears ends the process.
    a.on('error', onLeftError).on('close', onLeftClose).on('finish', finishIfOver).on('end', onLeftEnd)
    b.on('error', onRightError).on('close', onRightClose).on('finish', finishIfOver).on('end', onRightEnd)
    signal.addEventListener('abort', onAbort)
    if (signal.aborted) return onAbort()
    for (const channel of [left, right]) {
      if (channel.stream.errored) return fail(channel, channel.stream.errored)
      if (channel.stream.destroyed) return closed(channel, false)
    }
    if (barred()) return
    meter.recheck = checkDeadlines
    const sent: Moved = bytes => {
      if (barred()) return false
      if (meter.tap && bytes.length > 0) meter.tap('forward', bytes, meter.sent)
      meter.sent += bytes.length
      meter.lastActiveAt = performance.now()
      return true
    }
    const received: Moved = bytes => {
      if (barred()) return false
      if (meter.tap && bytes.length > 0) meter.tap('backward', bytes, meter.received)
      meter.received += bytes.length
      meter.lastActiveAt = performance.now()
      return true
    }
    stopForward = only === 'backward' ? swallow(left, noop) : startFlow(left, right, sent)
    stopBackward = only === 'forward' ? swallow(right, noop) : startFlow(right, left, received)
    if (a.readableEnded) onLeftEnd()
    if (b.readableEnded) onRightEnd()
    finishIfOver()
    if (!settled) checkDeadlines()
  })
}

/** Has all that was written left our buffers? A side that was never ended lacks nothing: its direction never began. */
function flushed(stream: Duplex): boolean {
  return stream.writableFinished || !stream.writableEnded
}

function noop(): void {}

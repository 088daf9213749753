import { setTimeout as sleep } from 'node:timers/promises'
import type { LogFile, LogFiles } from './log-files.ts'

/** What of a log is wanted. */
export interface LogWish {
  /** Lines of this time (in milliseconds) and later. */
  readonly since?: number | undefined
  /** Of the last so many bytes, from the beginning of a line. */
  readonly lastBytes?: number | undefined
  /** Go on with what is written from now on, for as long as `lasts` says so. */
  readonly follow?: boolean | undefined
  readonly lasts: () => boolean
}

const readBytes = 64 * 1_024
/** How often a file is looked at that may grow. */
const lookEveryMs = 100

/** The lines of a log in their order, each with its time in front, as fast as they are taken and no faster. */
export async function* readLog(
  files: LogFiles,
  { since, lastBytes, follow = false, lasts }: LogWish,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  let begun = await files.beginning(since, lastBytes)
  while (!begun) {
    if (!follow || !(await stillAfter(lookEveryMs))) return
    begun = await files.beginning(undefined, undefined)
  }
  let current: LogFile | undefined = begun.file
  // A byte earlier, so that a line that begins right there is a whole one.
  let at = Math.max(0, begun.at - 1)
  const cut = [
    ...(begun.at > 0 ? [fromNextLine()] : []),
    ...(since === undefined ? [] : [fromTime(new Date(since).toISOString())]),
  ]
  let next: LogFile | undefined
  try {
    for (;;) {
      const { bytesRead, buffer } = await current.handle.read(Buffer.allocUnsafe(readBytes), 0, readBytes, at)
      at += bytesRead
      let bytes: Buffer = buffer.subarray(0, bytesRead)
      for (const leaveOut of cut) bytes = leaveOut(bytes)
      if (signal.aborted) return
      if (bytes.length > 0) yield bytes
      if (bytesRead > 0) continue
      if (next) {
        await current[Symbol.asyncDispose]()
        current = next
        next = undefined
        at = 0
        continue
      }
      next = await files.after(current)
      // What was written just before it was renamed comes first.
      if (!next && !(follow && (await stillAfter(lookEveryMs)))) return
    }
  } finally {
    await current?.[Symbol.asyncDispose]()
    await next?.[Symbol.asyncDispose]()
  }

  async function stillAfter(ms: number): Promise<boolean> {
    await sleep(ms, undefined, { signal }).catch(() => {})
    return !signal.aborted && lasts()
  }
}

const newline = 0x0a
const nothing: Buffer = Buffer.alloc(0)
const timeLength = '2026-11-29T10:00:00.000Z'.length
const isTime = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/

/** Leaves out the rest of a line that began before. */
function fromNextLine(): (bytes: Buffer) => Buffer {
  let isWhole = false
  return bytes => {
    if (isWhole) return bytes
    const end = bytes.indexOf(newline)
    isWhole = end >= 0
    return isWhole ? bytes.subarray(end + 1) : nothing
  }
}

/** Leaves out all lines before the first of this time or a later one. */
function fromTime(since: string): (bytes: Buffer) => Buffer {
  let isThere = false
  /** The beginning of a line of which the time has not come yet. */
  let rest = nothing
  let isWithin = false
  return bytes => {
    if (isThere) return bytes
    const all = rest.length > 0 ? Buffer.concat([rest, bytes]) : bytes
    rest = nothing
    let from = 0
    for (;;) {
      if (isWithin) {
        const end = all.indexOf(newline, from)
        if (end < 0) return nothing
        from = end + 1
        isWithin = false
      }
      if (all.length - from < timeLength) {
        rest = Buffer.from(all.subarray(from))
        return nothing
      }
      const time = all.toString('latin1', from, from + timeLength)
      isThere = isTime.test(time) && time >= since
      if (isThere) return all.subarray(from)
      isWithin = true
    }
  }
}

import type { Duplex } from 'node:stream'
import type { SerialControl } from '../control.ts'
import type { LineCounters } from '../port.ts'
import { lineBits } from './codec.ts'

/** No driver tells of an error on the line; it counts. */
const lookEveryMs = 100

export interface LineWatch extends Disposable {
  /** How it is, and what went wrong since it was asked last. */
  now(): Promise<number>
  /**
   * Once it resolves, tells when one of these bits is set that was not before, or an error has come again; none with 0.
   */
  watch(mask: number): Promise<void>
}

const errors = {
  frame: lineBits.framing,
  overrun: lineBits.overrun,
  parity: lineBits.parity,
  breaks: lineBits.break,
} as const satisfies Record<keyof LineCounters, number>

const steady = lineBits.shiftEmpty | lineBits.holdingEmpty | lineBits.dataReady

/** The state of a line in the words of RFC 2217, as far as the port and its stream tell. */
export function lineWatch(line: SerialControl, stream: Duplex, changed: (state: number) => void): LineWatch {
  let counted: LineCounters | undefined
  let timer: NodeJS.Timeout | undefined
  let before = 0
  let mask = 0
  let looking = false

  const now = async () => {
    const counts = await line.counters().catch(() => undefined)
    let state = 0
    for (const [name, bit] of Object.entries(errors) as [keyof LineCounters, number][]) {
      if (counts && counted && counts[name] !== counted[name]) state |= bit
    }
    counted = counts ?? counted
    if (stream.writableLength === 0) state |= lineBits.shiftEmpty | lineBits.holdingEmpty
    if (stream.readableLength > 0) state |= lineBits.dataReady
    return state
  }
  const look = async () => {
    if (looking) return
    looking = true
    const state = await now()
    looking = false
    const news = (state & ~before) | (state & ~steady)
    before = state & steady
    if (news & mask) changed(state & mask)
  }

  return {
    now,
    async watch(wanted) {
      mask = wanted
      clearInterval(timer)
      if (mask === 0) return
      // What was counted before somebody asked is not news.
      before = (await now()) & steady
      clearInterval(timer)
      if (mask !== 0) timer = setInterval(look, lookEveryMs)
    },
    [Symbol.dispose]() {
      mask = 0
      clearInterval(timer)
    },
  }
}

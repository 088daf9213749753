import type { LineSettings } from './port.ts'

/** What one of those who share a port is told of it, beside its bytes. */
export interface Standing {
  /** What this one writes reaches the device. */
  readonly writes: boolean
  /** The device is there. */
  readonly there: boolean
  /** How its line is set, while it is there. */
  readonly line?: Required<LineSettings>
  /** All who have it, in the order in which they came. */
  readonly present: readonly Presence[]
}

export interface Presence {
  readonly who: string
  readonly writes: boolean
  /** The one who is told. */
  readonly you: boolean
}

/** A word of a standing that another host has sent. Undefined for what is none. */
export function readStanding(value: unknown): Standing | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { writes, there, line, present } = value as Record<string, unknown>
  if (typeof writes !== 'boolean' || typeof there !== 'boolean' || !Array.isArray(present)) return undefined
  return {
    writes,
    there,
    ...(isLine(line) && { line }),
    present: present.filter(isPresence),
  }
}

function isLine(value: unknown): value is Required<LineSettings> {
  if (typeof value !== 'object' || value === null) return false
  const { baud, data, parity, stop, flow } = value as Record<string, unknown>
  const numbers = [baud, data, stop].every(each => typeof each === 'number')
  return numbers && typeof parity === 'string' && typeof flow === 'string'
}

function isPresence(value: unknown): value is Presence {
  if (typeof value !== 'object' || value === null) return false
  const { who, writes, you } = value as Record<string, unknown>
  return typeof who === 'string' && typeof writes === 'boolean' && typeof you === 'boolean'
}

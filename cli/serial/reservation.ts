import { writeToken } from '#relay/lexer.ts'
import { durationOf } from '../duration.ts'

/** How somebody wants to have a port. */
export type Wish = 'share' | 'watch' | 'take-over' | 'exclusive'

/** How, when and for how long. */
export interface Reservation {
  readonly wish: Wish
  /** While others have it, wait in line for so long. */
  readonly waitMs?: number | undefined
  /** From when it is open; then it is taken back. */
  readonly ttlMs?: number | undefined
}

const optionsOf: Record<Wish, readonly string[]> = {
  share: ['share'],
  watch: ['watch'],
  'take-over': ['take-over'],
  // A device that is shared is waited for anyway.
  exclusive: ['exclusive', 'replug'],
}

/** A host takes no shorter time; what is left of a longer one may be less. */
const shortestMs = 1_000
const longestMs = 86_400_000

/** What it is called by the commands that have it. */
export const readTtl = durationOf('--ttl', { min: shortestMs, max: longestMs })
export const readWait = durationOf('--wait', { max: longestMs })

/** What an address has for it. */
export const reservationOptions = ({ wish, waitMs, ttlMs }: Reservation): readonly string[] => [
  ...optionsOf[wish],
  ...(waitMs === undefined ? [] : [`wait=${waitMs}ms`]),
  ...(ttlMs === undefined ? [] : [`for=${Math.ceil(Math.max(shortestMs, ttlMs))}ms`]),
]

export const alertOption = ({ source }: RegExp): string => `alert=${writeToken(source)}`

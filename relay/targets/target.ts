import type { Endpoint } from '../endpoint.ts'
import type { RelayError } from '../errors.ts'

export type Health = 'up' | 'down' | 'unknown'

/** How one target of a running relay fares. Plain values that stay current. */
export interface TargetStatus {
  readonly address: string
  /** As its health checks see it: `unknown` before the first one, and without any. */
  readonly health: Health
  /** When `health` became what it is. */
  readonly since: Date
  /** Why the last check or connection failed; gone with the next one that does not. */
  readonly error: RelayError | undefined
  /** Live ones of this relay, those being dialled included. */
  readonly connections: number
  /** Opened so far. */
  readonly total: number
  /** Could not be opened so far. */
  readonly failures: number
}

/** The same, as the engine keeps it. */
export interface Target extends TargetStatus {
  readonly endpoint: Endpoint
  /** What clients are hashed to: the address, and which of them where one is listed twice. */
  readonly key: string
  health: Health
  since: Date
  error: RelayError | undefined
  connections: number
  total: number
  failures: number
  /** Until then others are tried before it, by `performance.now()`: it has kept a client waiting for nothing. */
  avoidedUntil: number
}

export function newTargets(endpoints: readonly Endpoint[]): Target[] {
  const seen = new Map<string, number>()
  return endpoints.map(endpoint => {
    const address = endpoint.address.text
    const nth = (seen.get(address) ?? 0) + 1
    seen.set(address, nth)
    return {
      endpoint,
      address,
      key: nth === 1 ? address : `${address} ${nth}`,
      health: 'unknown',
      since: new Date(),
      error: undefined,
      connections: 0,
      total: 0,
      failures: 0,
      avoidedUntil: 0,
    }
  })
}

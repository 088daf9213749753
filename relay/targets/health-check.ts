/** How a relay finds out which of its targets are well. */
export interface HealthCheck {
  /** The path of a GET that must be answered with 2xx or 3xx. Without it, a target that can be opened is well. */
  readonly http?: string
  readonly intervalMs: number
  readonly timeoutMs: number
  /** So many good checks in a row bring a target up that is down. */
  readonly rise: number
  /** So many bad ones take it down. The very first check decides alone, either way. */
  readonly fall: number
}

export const healthDefaults = { intervalMs: 5_000, timeoutMs: 2_000, rise: 2, fall: 3 } as const

export function equalChecks(a: HealthCheck | undefined, b: HealthCheck | undefined): boolean {
  if (!a || !b) return a === b
  return (
    a.http === b.http &&
    a.intervalMs === b.intervalMs &&
    a.timeoutMs === b.timeoutMs &&
    a.rise === b.rise &&
    a.fall === b.fall
  )
}

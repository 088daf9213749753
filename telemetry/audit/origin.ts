import type { Outcome } from './record.ts'

/** Where rows come from, for those who gather those of several fleets. */
export interface Origin {
  readonly cluster: string
  readonly version: string
}

/** How grave an outcome is, on the scale of syslog (0 is the worst) and on that of CEF (10 is the worst). */
export function severityOf(outcome: Outcome): { syslog: number; cef: number } {
  return severities[outcome]
}

const severities: Record<Outcome, { syslog: number; cef: number }> = {
  done: { syslog: 6, cef: 3 },
  refused: { syslog: 4, cef: 6 },
  alert: { syslog: 4, cef: 8 },
}

import type { X509Certificate } from 'node:crypto'
import { IdentityError } from './errors.ts'

/** The time in which a certificate counts. */
export interface Validity {
  readonly notBefore: Date
  readonly notAfter: Date
}

export type Clock = () => Date
export const systemClock: Clock = () => new Date()

/** A certificate counts from a little before its making, so that a host whose clock is slow can use it at once. */
export const backdateMs = 5 * 60_000

export const validityOf = ({ validFromDate, validToDate }: X509Certificate): Validity => ({
  notBefore: validFromDate,
  notAfter: validToDate,
})

export function stateOf({ notBefore, notAfter }: Validity, now: Date): 'valid' | 'expired' | 'not-yet-valid' {
  if (now < notBefore) return 'not-yet-valid'
  return now > notAfter ? 'expired' : 'valid'
}

/** For messages: `from 2026-01-02 03:04:05 UTC until 2026-01-03 03:04:05 UTC`. */
export const validityText = ({ notBefore, notAfter }: Validity): string =>
  `from ${timeText(notBefore)} until ${timeText(notAfter)}`

export const timeText = (date: Date): string => `${date.toISOString().slice(0, 19).replace('T', ' ')} UTC`

/** Throws unless `now` lies in the validity. `what` names the certificate: `the certificate of edge-1`. */
export function requireValid(validity: Validity, what: string, now: Date): void {
  const state = stateOf(validity, now)
  if (state === 'valid') return
  const off = span(
    state === 'expired'
      ? now.getTime() - validity.notAfter.getTime()
      : validity.notBefore.getTime() - now.getTime(),
  )
  throw new IdentityError(state, {
    what: `${what} is ${state === 'expired' ? 'expired' : 'not valid yet'}`,
    why:
      `this host's clock says ${timeText(now)}; the certificate is valid ${validityText(validity)}, ` +
      `${off} ${state === 'expired' ? 'ago' : 'from now'}`,
    fix: 'Check the clock of this host (`date -u`) and of the controller; if both are right, the certificate needs renewal',
  })
}

/** A length of time as people say it, rounded down to its largest unit. */
function span(ms: number): string {
  const units = [
    ['day', 86_400_000],
    ['hour', 3_600_000],
    ['minute', 60_000],
    ['second', 1000],
  ] as const
  const [unit, length] = units.find(([, length]) => ms >= length) ?? units[3]
  const count = Math.floor(ms / length)
  return `${count} ${unit}${count === 1 ? '' : 's'}`
}

import { createHash, type X509Certificate } from 'node:crypto'
import { backdateMs, validityOf } from './validity.ts'

/** A tenth of the half-life, either way. */
const jitter = 0.1

/**
 * When to renew: at half of the certificate's life, never before `now`. The jitter comes from the certificate itself,
 * so that a fleet that enrolled at once does not renew at once, and a host that restarts does not draw again.
 */
export function renewAt(certificate: X509Certificate, now: Date): Date {
  const { notBefore, notAfter } = validityOf(certificate)
  const issued = Math.min(notBefore.getTime() + backdateMs, notAfter.getTime())
  const half = (notAfter.getTime() - issued) / 2
  const draw = createHash('sha256').update(certificate.raw).digest().readUInt32BE() / 0xffff_ffff
  return new Date(Math.max(now.getTime(), issued + half * (1 + jitter * (2 * draw - 1))))
}

import type { Address } from '../address.ts'
import type { CertificateWish, FleetCertificate, OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { canonicalIp } from '../ip.ts'
import { wrongAddress } from './ip-parts.ts'
import type { TlsFiles } from './tls-files.ts'

/** A certificate of the fleet's authority in place of a file. A file of that name is `./auto`. */
export const auto = 'auto'

const wildcards = ['0.0.0.0', '::']

/** What there is to read. */
export function filesOf({ cert, key, cafile, dhparams }: TlsFiles): TlsFiles {
  return { cert: cert === auto ? undefined : cert, key, cafile, dhparams }
}

export interface AutoOptions {
  readonly cert?: string | undefined
  readonly key?: string | undefined
  readonly cafile?: string | undefined
  readonly certNames?: readonly string[] | undefined
}

/** Refuses what does not go with `cert=auto`, and what does not go without it. */
export function checkAuto(address: Address, { cert, key, cafile, certNames }: AutoOptions): void {
  for (const [name, value] of Object.entries({ key, cafile })) {
    if (value !== auto) continue
    const why = `\`${name}=auto\` says nothing: \`cert=auto\` brings its key and the fleet's authority along`
    throw wrongAddress(address, why, `Write \`cert=auto\`, or \`${name}=\` with a file in PEM`)
  }
  if (cert === auto && key !== undefined) {
    throw wrongAddress(address, '`cert=auto` has a key of its own', 'Leave out `key`')
  }
  if (certNames && cert !== auto) {
    const why = '`cert-names` says what a new certificate is for, and this one is there already'
    throw wrongAddress(address, why, 'Leave it out, or write `cert=auto`')
  }
}

/** Of a listener, `bound` is where it listens. */
export function wishOf(
  { cert, certNames }: AutoOptions,
  side: CertificateWish['side'],
  bound = '',
): { certificate?: CertificateWish } {
  if (cert !== auto) return {}
  if (certNames) return { certificate: { side, names: certNames, namesHost: false } }
  return { certificate: { side, names: namesOfBound(bound), namesHost: side === 'server' } }
}

function namesOfBound(bound: string): string[] {
  const name = bound.replace(/^\[|\]$/g, '').toLowerCase()
  const ip = canonicalIp(name)
  if (name === '' || wildcards.includes(ip ?? '')) return []
  const isLoopback = ip !== undefined && (ip.startsWith('127.') || ip === '::1')
  return [ip ?? name, ...(isLoopback ? ['localhost'] : [])]
}

/** Nothing if the address names files. Throws a RelayError `unsupported` where no fleet is. */
export async function obtained(
  { cert }: AutoOptions,
  { certificates, signal }: OpenContext,
  what: string,
): Promise<FleetCertificate | undefined> {
  if (cert !== auto) return undefined
  if (certificates) return await unlessAborted(certificates.obtain(), signal, what)
  throw new RelayError('unsupported', {
    what,
    why: '`cert=auto` takes what the authority of a fleet signs, and this relay is of no fleet',
    fix: 'Write `cert=FILE` with a certificate and its key in PEM, or create the relay with `fleetcat create`',
  })
}

async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal, what: string): Promise<T> {
  const { promise: stopped, reject } = Promise.withResolvers<never>()
  const onAbort = () => reject(RelayError.from(signal.reason, what))
  signal.addEventListener('abort', onAbort)
  if (signal.aborted) onAbort()
  try {
    return await Promise.race([work, stopped])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

import { constants } from 'node:crypto'
import { createSecureContext, getCACertificates, rootCertificates, type SecureContextOptions } from 'node:tls'
import type { FleetCertificate } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import type { TlsOptionValues } from './tls-bind.ts'
import type { TlsMaterial } from './tls-files.ts'

/**
 * What OpenSSL is told. Throws a RelayError when it will not have it: a bad list of ciphers, a key that is too weak.
 */
export function contextOptions(
  material: TlsMaterial,
  { cipher, minVersion, maxVersion, verify = true }: TlsOptionValues,
  what: string,
): SecureContextOptions {
  const options = {
    ...material,
    ...(material.ca === undefined && verify && { ca: systemAuthorities() }),
    ...(cipher !== undefined && { ciphers: cipher }),
    ...(minVersion && { minVersion }),
    ...(maxVersion && { maxVersion }),
  }
  try {
    createSecureContext(options)
    return options
  } catch (thrown) {
    throw notTaken(thrown, what)
  }
}

/** Without authorities of its own, who has a certificate of the fleet trusts the fleet, and nobody else. */
export function withOwn(material: TlsMaterial, own: FleetCertificate | undefined): TlsMaterial {
  return own ? { ca: own.authority, ...material, cert: own.certificate, key: own.key } : material
}

/**
 * A resumed session skips the client's certificate and still counts as authorised. Without tickets one could be resumed
 * only from a store, which exists only if somebody listens to the server's `resumeSession` event.
 */
export const withoutResumption = constants.SSL_OP_NO_TICKET

let system: string[] | undefined

/** Those of the host, as socat has it; those that Node brings along where the host has none. */
function systemAuthorities(): string[] {
  if (!system) {
    const found = [...new Set(getCACertificates('system'))]
    system = found.length > 0 ? found : [...rootCertificates]
  }
  return system
}

function notTaken(thrown: unknown, what: string): RelayError {
  const { code = '', message } = thrown as NodeJS.ErrnoException
  if (/NO_CIPHER_MATCH|INVALID_COMMAND|CIPHER/.test(code)) {
    const why = 'OpenSSL knows none of the ciphers of `cipher=`'
    return new RelayError('usage', { what, why, fix: '`openssl ciphers -v` lists them', cause: thrown })
  }
  if (/KEY_TOO_SMALL|MD_TOO_WEAK/.test(code)) {
    const why = `OpenSSL takes its key or signature for too weak (${code})`
    const fix = 'Make a new key of at least 2048 bits (RSA) or 256 bits (EC), signed with SHA-256'
    return new RelayError('unauthenticated', { what, why, fix, cause: thrown })
  }
  const why = `OpenSSL does not take its certificate, key or authorities: ${message}`
  return new RelayError('unauthenticated', {
    what,
    why,
    fix: 'Look at the files with `openssl x509 -text`',
    cause: thrown,
  })
}

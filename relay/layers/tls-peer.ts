import { checkServerIdentity, type TLSSocket } from 'node:tls'
import { shown } from '../address.ts'
import { RelayError } from '../errors.ts'

/** What a peer's certificate must be, beyond signed by somebody trusted. All that is said must hold. */
export interface PeerRules {
  /** The chain of signatures was verified; without it the names in a certificate are anybody's words. */
  readonly verified: boolean
  /** As host names are compared: wildcards of the certificate count. */
  readonly commonName?: string | undefined
  /** One of these names, exactly. */
  readonly identities?: readonly string[] | undefined
  /** One of these certificates: SHA-256 in lower-case hex. */
  readonly fingerprints?: readonly string[] | undefined
}

/**
 * The peer's name by its certificate, fit to be shown; undefined where nothing vouches for it. Throws a RelayError
 * `unauthenticated` when the rules do not hold. Presumes that a chain that does not verify has been refused already.
 */
export function checkPeer(tls: TLSSocket, rules: PeerRules, what: string): string | undefined {
  const { verified, commonName, identities, fingerprints } = rules
  const refused = (why: string, fix: string) => new RelayError('unauthenticated', { what, why, fix })
  const certificate = tls.getPeerX509Certificate()
  if (!certificate) {
    if (!verified && !fingerprints) return undefined
    throw refused('it presented no certificate', 'Give it one')
  }
  const names = namesOf(certificate)
  const named = names.map(name => shown(name)).join(', ') || 'nobody'
  if (fingerprints) {
    const print = certificate.fingerprint256.replaceAll(':', '').toLowerCase()
    if (!fingerprints.includes(print)) {
      throw refused(
        `its certificate, for ${named}, is another one than the pinned`,
        `If it was renewed on purpose, write \`fingerprint=${print}\``,
      )
    }
  }
  if (commonName !== undefined && verified) {
    const mismatch = checkServerIdentity(commonName, certificate.toLegacyObject())
    if (mismatch) {
      throw refused(
        `its certificate is for ${named}, not for ${commonName}`,
        'If it is the right peer, write `commonname=` with a name of its certificate',
      )
    }
  }
  if (identities && !identities.some(identity => names.includes(identity))) {
    throw refused(
      `its certificate is for ${named}, none of which is a wanted identity`,
      'If it is the right peer, add its name to `identity=`',
    )
  }
  return verified || fingerprints ? shown(names[0] ?? certificate.fingerprint256) : undefined
}

interface Named {
  readonly subject: string
  readonly subjectAltName: string | undefined
}

/**
 * All that a certificate names: URIs first, then hosts, mail addresses and IPs. The common name of its subject counts
 * only where it has no other, for some authorities let their clients choose that one freely.
 */
export function namesOf({ subject, subjectAltName = '' }: Named): readonly string[] {
  const found = entries(subjectAltName)
  const names = ['URI', 'DNS', 'email', 'IP Address'].flatMap(wanted =>
    found.flatMap(([kind, name]) => (kind === wanted ? name : [])),
  )
  if (names.length > 0) return names
  const commonName = /^CN=(.*)$/m.exec(subject)?.[1]
  return commonName ? [commonName] : []
}

/** Node writes `DNS:a.test, URI:spiffe://…`, and a name that would read as more than one as a JSON string. */
function entries(subjectAltName: string): [kind: string, name: string][] {
  return [...subjectAltName.matchAll(/([A-Za-z ]+):("(?:[^"\\]|\\.)*"|[^,]*)(?:, |$)/g)].map(
    ([, kind = '', name = '']) => [kind, name.startsWith('"') ? String(JSON.parse(name)) : name],
  )
}

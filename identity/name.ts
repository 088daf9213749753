import { X509Certificate } from 'node:crypto'
import { contentOf, context, decode, isA, oidOf, partsOf, tag, universal } from './der.ts'
import { IdentityError, quote } from './errors.ts'

export const kinds = ['agent', 'operator', 'controller'] as const
export type Kind = (typeof kinds)[number]

/** Who somebody is. What they may do is not part of it: the controller's store decides that. */
export interface Identity {
  readonly cluster: string
  readonly kind: Kind
  readonly name: string
}

/** The name that every controller's certificate carries, whatever its host is called. Clients ask for it. */
export const controllerServerName = 'controller.fleetcat'

/** Where controllers are reached: whoever is called so could be taken for one. */
const ofControllers = /(^|\.)(controller\.fleetcat|localhost)$/

const allowed = /^[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?$/
const subjectAltName = '2.5.29.17'
const uriTag = 6

/** Returns the text if it can name a host, a person or a cluster, else throws with the nearest text that can, if any. */
export function checkName(text: string, role = 'name'): string {
  if (ofControllers.test(text)) {
    throw new IdentityError('invalid', {
      what: `${role} ${quote(text)} refused`,
      why: 'controllers are reached by it',
      fix: 'Choose another name',
    })
  }
  if (allowed.test(text)) return text
  const nearest = nearestName(text)
  throw new IdentityError('invalid', {
    what: `${role} ${quote(text)} refused`,
    why: 'it takes 1 to 63 of a-z, 0-9, "-" and ".", with a letter or a digit at both ends',
    fix: nearest === '' ? undefined : `Try ${nearest}`,
  })
}

/** The nearest text that can be a name, or nothing where there is none. */
export const nearestName = (text: string): string =>
  text
    .toLowerCase()
    .replace(/[^a-z0-9.-]+/g, '-')
    .slice(0, 63)
    .replace(/^[.-]+|[.-]+$/g, '')

export function formatName({ cluster, kind, name }: Identity): string {
  return `${formatCluster(cluster)}/${kind}/${checkName(name)}`
}

/**
 * What a relay calls itself to those it talks to, on one agent. It names nobody who may ask anything of a controller:
 * `parseName` refuses it.
 */
export function formatRelayName({ cluster, relay, agent }: RelayIdentity): string {
  if (!allowed.test(relay)) {
    throw new IdentityError('invalid', {
      what: `relay ${quote(relay)} refused`,
      why: 'it is no name of a relay',
    })
  }
  return `${formatCluster(cluster)}/relay/${relay}/${checkName(agent)}`
}

export interface RelayIdentity {
  readonly cluster: string
  readonly relay: string
  readonly agent: string
}

/** Is this a host by which controllers are reached, and agents and operators ask for them? */
export const isOfControllers = (host: string): boolean => /(^|\.)controller\.fleetcat$/.test(host)

export function parseName(uri: string): Identity {
  const [, cluster = '', kind = '', name = ''] = /^spiffe:\/\/([^/]*)\/([^/]*)\/([^/]*)$/.exec(uri) ?? []
  if (!isKind(kind) || !allowed.test(cluster) || !allowed.test(name)) {
    throw refusedUri(uri, `spiffe://<cluster>/<${kinds.join('|')}>/<name>`)
  }
  return { cluster, kind, name }
}

/** The identity of an authority is its cluster alone. */
export const formatCluster = (cluster: string): string => `spiffe://${checkName(cluster, 'cluster name')}`

/** Who a certificate names. It proves nothing until the certificate is verified. */
export function identityOf(certificate: X509Certificate | Buffer): Identity {
  return parseName(soleUriOf(certificate))
}

/** The cluster that an authority's certificate speaks for. */
export function clusterOf(certificate: X509Certificate | Buffer): string {
  const uri = soleUriOf(certificate)
  const cluster = /^spiffe:\/\/([^/]*)$/.exec(uri)?.[1] ?? ''
  if (!allowed.test(cluster)) throw refusedUri(uri, 'spiffe://<cluster>')
  return cluster
}

/**
 * Reads the bytes of the extension, because the text form that Node offers has to quote names that a certificate's
 * maker chose, and has been fooled by them before.
 */
function soleUriOf(certificate: X509Certificate | Buffer): string {
  const uris: Buffer[] = []
  try {
    const body = partsOf(decode(certificate instanceof X509Certificate ? certificate.raw : certificate))[0]
    const extensions = partsOf(partsOf(body).find(part => isA(part, context, 3)))[0]
    for (const extension of partsOf(extensions)) {
      const [id, ...rest] = partsOf(extension)
      const value = rest.at(-1)
      if (oidOf(id) !== subjectAltName || !isA(value, universal, tag.OCTETSTRING)) continue
      for (const name of partsOf(decode(contentOf(value) ?? Buffer.alloc(0)))) {
        if (isA(name, context, uriTag)) uris.push(contentOf(name) ?? Buffer.alloc(0))
      }
    }
  } catch (cause) {
    throw new IdentityError('invalid', { what: 'certificate refused', why: 'it cannot be read', cause })
  }
  const [uri] = uris
  if (uri === undefined || uris.length > 1) {
    throw new IdentityError('invalid', {
      what: 'certificate refused',
      why:
        uri === undefined
          ? 'it names nobody of fleetcat'
          : `it names ${uris.length} identities, and must name one`,
      fix: 'Use a certificate that a fleetcat controller issued',
    })
  }
  return uri.toString('latin1')
}

const isKind = (text: string): text is Kind => (kinds as readonly string[]).includes(text)

function refusedUri(uri: string, form: string): IdentityError {
  return new IdentityError('invalid', {
    what: 'identity refused',
    why: `${quote(uri)} is not of the form ${form}`,
  })
}

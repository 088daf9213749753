import { type KeyObject, X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import { join } from 'node:path'
import {
  type AlternativeName,
  type CertificateContent,
  type ExtendedUsage,
  signCertificate,
} from './certificate.ts'
import { IdentityError, quote } from './errors.ts'
import { algorithmFor, fingerprintOf, generateKey, keyFromPem, keyToPem, publicHalf } from './keys.ts'
import {
  checkName,
  clusterOf,
  controllerServerName,
  formatCluster,
  formatName,
  formatRelayName,
  isOfControllers,
  type Kind,
} from './name.ts'
import { readPem } from './pem.ts'
import { readPrivateFile, writePrivateFile } from './private-file.ts'
import { backdateMs, type Clock, requireValid, systemClock, validityOf } from './validity.ts'

/** What signs the certificates of one cluster. Its private key never leaves it, but for its own file. */
export interface Authority {
  readonly cluster: string
  readonly certificate: X509Certificate
  readonly certificatePem: string
  /** SHA-256 of the authority's public key, in hex: what a join token carries. */
  readonly pin: string
  /**
   * Signs a certificate for somebody's public key and returns it as PEM, the leaf alone. Nothing else of theirs gets
   * into it. It never outlives the authority. Throws `invalid` for a weak key or a wrong name, `expired` or
   * `not-yet-valid` when the clock lies outside of the authority's own life.
   */
  issue(order: CertificateOrder): Promise<string>
  /** The same for what a relay speaks TLS with: it lets nobody in at a controller. */
  issueForRelay(order: RelayCertificateOrder): Promise<string>
}

export interface RelayCertificateOrder {
  readonly relay: string
  /** Where it runs. */
  readonly agent: string
  readonly publicKey: KeyObject
  readonly lifetimeMs: number
  /** The hosts that it may answer for. */
  readonly hosts: readonly string[]
  readonly usages: readonly ExtendedUsage[]
  readonly clock?: Clock
}

export interface CertificateOrder {
  readonly kind: Kind
  readonly name: string
  readonly publicKey: KeyObject
  readonly lifetimeMs: number
  /** For a controller only: the host names and IP addresses that it advertises, beyond the ones it always has. */
  readonly hosts?: readonly string[]
  readonly clock?: Clock
}

const fileName = 'authority.pem'
const authorityYears = 10
const controllerHosts = [controllerServerName, 'localhost', '127.0.0.1', '::1']
const hostName = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/

/** Agents also answer: a tunnel runs TLS from host to host. Without a host name in it, no agent passes for a controller. */
const usages: Record<Kind, readonly ExtendedUsage[]> = {
  controller: ['serverAuth'],
  agent: ['clientAuth', 'serverAuth'],
  operator: ['clientAuth'],
}

/** A new authority that lives in memory only. */
export async function createAuthority(order: { cluster: string; clock?: Clock }): Promise<Authority> {
  const { key, certificate } = await selfSigned(order)
  return authorityOf(key, certificate)
}

/**
 * The authority of a directory, made there on the first start. Of two processes that start at once, one makes it and
 * both use it. Naming another cluster than the directory's is an error.
 */
export async function openAuthority(directory: string, cluster: string, clock?: Clock): Promise<Authority> {
  checkName(cluster, 'cluster name')
  let authority = await loadAuthority(directory)
  if (authority === undefined) {
    const { key, certificate } = await selfSigned({ cluster, ...(clock && { clock }) })
    await writePrivateFile(join(directory, fileName), keyToPem(key) + certificate.toString(), 'keep')
    authority = await loadAuthority(directory)
  }
  if (authority?.cluster === cluster) return authority
  throw new IdentityError('invalid', {
    what: `cluster ${cluster} refused`,
    why: `${directory} holds the authority of cluster ${authority?.cluster ?? 'nobody'}`,
    fix: 'Name that cluster, or use another directory',
  })
}

/** The authority that a directory holds, or undefined when it holds none. */
export async function loadAuthority(directory: string): Promise<Authority | undefined> {
  const path = join(directory, fileName)
  const text = await readPrivateFile(path)
  if (text === undefined) return undefined
  try {
    const [key, certificate, ...rest] = readPem(text) ?? []
    if (key?.label !== 'PRIVATE KEY' || certificate?.label !== 'CERTIFICATE' || rest.length > 0) {
      throw new Error('a private key and one certificate are expected, in this order')
    }
    const x509 = new X509Certificate(certificate.bytes)
    const privateKey = keyFromPem(text)
    if (!x509.ca || !x509.checkPrivateKey(privateKey) || !x509.verify(x509.publicKey)) {
      throw new Error('key and certificate do not belong together')
    }
    return authorityOf(privateKey, x509)
  } catch (cause) {
    throw new IdentityError('corrupt', {
      what: `authority of ${directory} refused`,
      why: `${path} is damaged (${cause instanceof Error ? cause.message : cause})`,
      fix: 'Restore this file from a backup; a new authority would mean that every host has to join again',
      cause,
    })
  }
}

async function selfSigned({ cluster, clock = systemClock }: { cluster: string; clock?: Clock }) {
  const uri = formatCluster(cluster)
  const key = await generateKey()
  const publicKey = publicHalf(key)
  const notBefore = new Date(clock().getTime() - backdateMs)
  const notAfter = new Date(notBefore)
  notAfter.setUTCFullYear(notBefore.getUTCFullYear() + authorityYears)
  const title = { cluster, name: 'fleetcat authority' }
  const certificate = await signCertificate(
    {
      issuer: title,
      subject: title,
      publicKey,
      issuerPublicKey: publicKey,
      validity: { notBefore, notAfter },
      role: 'authority',
      names: [{ uri }],
      usages: [],
    },
    key,
  )
  return { key, certificate }
}

interface Leaf extends Pick<CertificateContent, 'publicKey' | 'usages'> {
  readonly title: string
  readonly unit: string
  readonly name: string
  readonly uri: string
  readonly hosts: readonly AlternativeName[]
  readonly lifetimeMs: number
  readonly clock: Clock | undefined
}

function authorityOf(key: KeyObject, certificate: X509Certificate): Authority {
  const cluster = clusterOf(certificate)

  async function sign(leaf: Leaf): Promise<string> {
    const { title, unit, name, publicKey, uri, hosts, usages, lifetimeMs, clock = systemClock } = leaf
    if (!(lifetimeMs > 0)) throw refused(title, 'its lifetime must be positive')
    algorithmFor(publicKey)
    const now = clock()
    const own = validityOf(certificate)
    requireValid(own, `the authority of cluster ${cluster}`, now)
    const end = Math.min(now.getTime() + lifetimeMs, own.notAfter.getTime())
    const start = Math.max(now.getTime() - backdateMs, own.notBefore.getTime())
    const issued = await signCertificate(
      {
        issuer: { cluster, name: 'fleetcat authority' },
        subject: { cluster, unit, name },
        publicKey,
        issuerPublicKey: certificate.publicKey,
        validity: { notBefore: new Date(start), notAfter: new Date(end) },
        role: 'leaf',
        names: [{ uri }, ...hosts],
        usages,
      },
      key,
    )
    return issued.toString()
  }

  async function issue(order: CertificateOrder): Promise<string> {
    const { kind, name, publicKey, lifetimeMs, clock } = order
    const uri = formatName({ cluster, kind, name })
    const title = `${kind} ${name}`
    const hosts = hostsFor(order, title)
    return await sign({
      title,
      unit: kind,
      name,
      publicKey,
      uri,
      hosts,
      usages: usages[kind],
      lifetimeMs,
      clock,
    })
  }

  async function issueForRelay(order: RelayCertificateOrder): Promise<string> {
    const { relay, agent, hosts: wanted, clock, ...rest } = order
    const title = `relay ${relay}`
    const uri = formatRelayName({ cluster, relay, agent })
    const hosts = alternativeHosts(wanted, title)
    const ofControllers = wanted.find(host => isOfControllers(host.toLowerCase()))
    if (ofControllers !== undefined)
      throw refused(title, `controllers are reached as ${quote(ofControllers)}`)
    return await sign({ ...rest, title, unit: 'relay', name: relay, uri, hosts, clock })
  }

  return {
    cluster,
    certificate,
    certificatePem: certificate.toString(),
    pin: fingerprintOf(certificate.publicKey),
    issue,
    issueForRelay,
  }
}

function hostsFor({ kind, hosts: advertised = [] }: CertificateOrder, title: string): AlternativeName[] {
  if (kind === 'controller') return alternativeHosts([...controllerHosts, ...advertised], title)
  if (advertised.length > 0) throw refused(title, 'only the certificate of a controller names hosts')
  return []
}

function alternativeHosts(wanted: readonly string[], title: string): AlternativeName[] {
  const hosts = new Set(wanted.map(host => host.toLowerCase()))
  for (const host of hosts) {
    if (host.includes('%') || (isIP(host) === 0 && !hostName.test(host))) {
      throw refused(title, `${quote(host)} is neither a host name nor an IP address`)
    }
  }
  return [...hosts].map(host => ({ host }))
}

function refused(title: string, why: string): IdentityError {
  return new IdentityError('invalid', { what: `certificate for ${title} refused`, why })
}

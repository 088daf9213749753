import { X509Certificate } from 'node:crypto'
import tls, { type DetailedPeerCertificate, type TLSSocket } from 'node:tls'
import { IdentityError } from './errors.ts'
import { fingerprintOf } from './keys.ts'
import { clusterOf, controllerServerName } from './name.ts'
import { controllerProblem } from './tls.ts'
import { type Clock, requireValid, systemClock, validityOf } from './validity.ts'

export interface FetchOptions {
  /** The only limit on how long it waits. */
  readonly signal: AbortSignal
  readonly servername?: string
  readonly clock?: Clock
}

/** Longer chains than this are not ours. */
const maxChain = 4

/**
 * Asks a controller for its authority, before anything is known of it but the pin of a join token. The connection is
 * used for nothing else: whoever needs an answer to believe connects again with the authority that this returns.
 * Throws `untrusted` for any other authority, `expired` or `not-yet-valid` when the clocks disagree, the system's own
 * error when nobody answers, and the signal's reason when that comes first.
 */
export async function fetchAuthority(
  host: string,
  port: number,
  pin: string,
  options: FetchOptions,
): Promise<{ caPem: string }> {
  const { signal, servername = controllerServerName, clock = systemClock } = options
  const where = `controller ${host.includes(':') ? `[${host}]` : host}:${port}`
  const leaf = await presentedBy({ host, port, servername }, where, signal)
  const authority = chainOf(leaf).find(one => one.ca && fingerprintOf(one.publicKey) === pin)
  if (authority === undefined) {
    throw untrusted(
      where,
      'its authority is not the one that the join token names: another controller, or somebody in between',
    )
  }
  const certificate = new X509Certificate(leaf.raw)
  const signed =
    authority.verify(authority.publicKey) &&
    certificate.checkIssued(authority) &&
    certificate.verify(authority.publicKey)
  if (!signed)
    throw untrusted(
      where,
      'it shows the right authority, which did not sign its certificate: somebody in between',
    )
  const problem = controllerProblem(servername, leaf, clusterOf(authority))
  if (problem !== undefined)
    throw untrusted(where, problem instanceof IdentityError ? problem.why : problem.message, problem)
  requireValid(validityOf(authority), `the authority of ${where}`, clock())
  requireValid(validityOf(certificate), `the certificate of ${where}`, clock())
  return { caPem: authority.toString() }
}

/** The certificate that a server shows, with those that it sends along. TLS proves that it holds the leaf's key. */
async function presentedBy(
  to: { host: string; port: number; servername: string },
  where: string,
  signal: AbortSignal,
): Promise<DetailedPeerCertificate> {
  signal.throwIfAborted()
  const socket = tls.connect({
    ...to,
    rejectUnauthorized: false,
    minVersion: 'TLSv1.3',
    ALPNProtocols: ['h2'],
  })
  const cancel = () => socket.destroy(signal.reason)
  signal.addEventListener('abort', cancel, { once: true })
  try {
    await secured(socket, where)
    return socket.getPeerCertificate(true)
  } finally {
    signal.removeEventListener('abort', cancel)
    socket.destroy()
  }
}

function secured(socket: TLSSocket, where: string): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('secureConnect', resolve)
    socket.once('close', () => reject(systemError(`${where} closed the connection`, 'ECONNRESET')))
    socket.on('error', error => reject(isTlsError(error) ? notTls(where, error) : error))
  })
}

const systemError = (message: string, code: string) => Object.assign(new Error(message), { code })

/** The leaf first. The chain of what Node found among the sent certificates ends in one that issued itself. */
function chainOf(leaf: DetailedPeerCertificate): X509Certificate[] {
  const chain: X509Certificate[] = []
  let next: DetailedPeerCertificate | undefined = leaf
  while (next?.raw !== undefined && chain.length < maxChain) {
    chain.push(new X509Certificate(next.raw))
    next = next.issuerCertificate === next ? undefined : next.issuerCertificate
  }
  return chain
}

const isTlsError = (error: Error): boolean => 'code' in error && String(error.code).startsWith('ERR_SSL_')

function notTls(where: string, cause: Error): IdentityError {
  return new IdentityError('untrusted', {
    what: `${where} refused`,
    why: `what answers there does not speak TLS 1.3 as a controller does (${'code' in cause ? cause.code : ''})`,
    fix: 'Check the address and the port',
    cause,
  })
}

function untrusted(where: string, why: string, cause?: unknown): IdentityError {
  return new IdentityError('untrusted', {
    what: `${where} refused`,
    why,
    fix: 'Check the address; if it is right, ask for a new join token from this very controller and find out who answers in its place',
    cause,
  })
}

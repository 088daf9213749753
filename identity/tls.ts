import { constants, X509Certificate } from 'node:crypto'
import tls, { type ConnectionOptions, type PeerCertificate, type TlsOptions } from 'node:tls'
import { IdentityError } from './errors.ts'
import { clusterOf, controllerServerName, identityOf } from './name.ts'

/** PEM texts: a key, its leaf alone, and the authority that signed it. */
export interface TlsIdentity {
  readonly key: string
  readonly cert: string
  readonly ca: string
}

const handshakeMs = 5_000

/**
 * For the controller's own TLS. It lets a peer in whose certificate is missing or bad: whoever takes the socket must
 * look at `authorized`. The authority is sent with the leaf, because a joining host has to see it to compare its pin.
 */
export function serverOptions({ key, cert, ca }: TlsIdentity): TlsOptions {
  return {
    key,
    cert: soleCertificate(cert).toString() + ca,
    ca,
    minVersion: 'TLSv1.3',
    requestCert: true,
    rejectUnauthorized: false,
    ALPNProtocols: ['h2'],
    handshakeTimeout: handshakeMs,
    // A resumed session skips the client's certificate and still counts as authorised. Without tickets a session could
    // be resumed only from a store, which exists only if somebody listens to the server's `resumeSession` event.
    secureOptions: constants.SSL_OP_NO_TICKET,
  }
}

/** For agents and operators on their way to a controller; without a key and a certificate for those that only join. */
export function clientOptions(identity: TlsIdentity | Pick<TlsIdentity, 'ca'>): ConnectionOptions {
  const cluster = clusterOf(soleCertificate(identity.ca))
  return {
    ...('key' in identity && { key: identity.key, cert: soleCertificate(identity.cert).toString() }),
    ca: identity.ca,
    minVersion: 'TLSv1.3',
    // Said aloud, because otherwise an environment variable can switch it off.
    rejectUnauthorized: true,
    servername: controllerServerName,
    ALPNProtocols: ['h2'],
    checkServerIdentity: (host, certificate) => controllerProblem(host, certificate, cluster),
  }
}

/** Why a peer is not a controller of the cluster, or undefined when it is. Presumes that its chain was verified. */
export function controllerProblem(host: string, peer: PeerCertificate, cluster: string): Error | undefined {
  const mismatch = tls.checkServerIdentity(host, peer)
  if (mismatch !== undefined) return mismatch
  try {
    const name = identityOf(peer.raw)
    if (name.kind === 'controller' && name.cluster === cluster) return undefined
    return new IdentityError('untrusted', {
      what: 'controller refused',
      why: `what answers is ${name.kind} ${name.name} of cluster ${name.cluster}, not a controller of ${cluster}`,
      fix: 'Check the address of the controller; something else of the fleet, or an attacker, listens there',
    })
  } catch (error) {
    return error as Error
  }
}

function soleCertificate(pem: string): X509Certificate {
  const count = pem.match(/-----BEGIN /g)?.length ?? 0
  try {
    if (count !== 1) throw new Error(`${count} blocks`)
    return new X509Certificate(pem)
  } catch (cause) {
    throw new IdentityError('invalid', {
      what: 'certificate refused',
      why: 'it must be one certificate in PEM, and nothing else',
      cause,
    })
  }
}

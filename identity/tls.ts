import { constants, X509Certificate } from 'node:crypto'
import tls, { type ConnectionOptions, type PeerCertificate, type TlsOptions } from 'node:tls'
import { IdentityError } from './errors.ts'
import { clusterOf, controllerServerName, type Identity, identityOf } from './name.ts'

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

/** What is spoken on tunnels: nobody takes one for anything else. */
const tunnelProtocol = 'fleetcat-tunnel/1'
/** All of TLS 1.3, the quickest first. */
const tunnelCiphers = 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256'

/**
 * For the end of a tunnel that opens it. `expected` is whom the controller has named; whoever else answers is refused,
 * whatever certificate of the cluster it has.
 */
export function tunnelClientOptions(
  { key, cert, ca }: TlsIdentity,
  expected: Pick<Identity, 'kind' | 'name'>,
): ConnectionOptions {
  const cluster = clusterOf(soleCertificate(ca))
  return {
    key,
    cert: soleCertificate(cert).toString(),
    ca,
    minVersion: 'TLSv1.3',
    ciphers: tunnelCiphers,
    rejectUnauthorized: true,
    ALPNProtocols: [tunnelProtocol],
    checkServerIdentity: (_, { raw }) => strangerProblem(raw, { cluster, ...expected }),
  }
}

/** For the end that answers. Who has come must be looked at with `strangerProblem`, as `authorized` must be. */
export function tunnelServerOptions({ key, cert, ca }: TlsIdentity): TlsOptions {
  return {
    key,
    cert: soleCertificate(cert).toString(),
    ca,
    minVersion: 'TLSv1.3',
    ciphers: tunnelCiphers,
    requestCert: true,
    rejectUnauthorized: true,
    ALPNProtocols: [tunnelProtocol],
    handshakeTimeout: handshakeMs,
    secureOptions: constants.SSL_OP_NO_TICKET,
  }
}

/** Why a certificate is not of exactly this one, or undefined when it is. Presumes that its chain was verified. */
export function strangerProblem(raw: Buffer, expected: Identity): Error | undefined {
  try {
    const { cluster, kind, name } = identityOf(raw)
    if (cluster === expected.cluster && kind === expected.kind && name === expected.name) return undefined
    return new IdentityError('untrusted', {
      what: 'tunnel refused',
      why: `at its other end is ${kind}/${name} of ${cluster}, and it was to be ${expected.kind}/${expected.name}`,
      fix: 'Somebody has joined the wrong ends: look at the controller and at what lies between',
    })
  } catch (error) {
    return error as Error
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

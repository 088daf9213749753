import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Authority, loadAuthority } from '#identity/ca.ts'
import { signCertificate } from '#identity/certificate.ts'
import { generateKey, keyFromPem, keyToPem, publicHalf } from '#identity/keys.ts'
import { formatName, type Identity } from '#identity/name.ts'
import type { TlsIdentity } from '#identity/tls.ts'

/** A key and a certificate that an authority signed, past whatever the controller would check. */
export async function issuedBy(
  authority: Authority,
  { kind, name }: Pick<Identity, 'kind' | 'name'>,
  more: { lifetimeMs?: number; clock?: () => Date } = {},
): Promise<TlsIdentity> {
  const key = await generateKey()
  const { lifetimeMs = 3_600_000, ...rest } = more
  const cert = await authority.issue({ kind, name, publicKey: publicHalf(key), lifetimeMs, ...rest })
  return { key: keyToPem(key), cert, ca: authority.certificatePem }
}

/** The authority of a controller's data directory, as a thief of that directory would have it. */
export async function authorityOf(dataDir: string): Promise<Authority> {
  const authority = await loadAuthority(join(dataDir, 'authority'))
  if (!authority) throw new Error(`${dataDir} has no authority`)
  return authority
}

export async function authorityPemOf(dataDir: string): Promise<string> {
  return await readFile(join(dataDir, 'authority', 'authority.pem'), 'utf8')
}

/** A certificate for `identity` that another leaf signed, as if leaves were authorities. */
export async function signedByLeaf(leaf: TlsIdentity, identity: Identity): Promise<TlsIdentity> {
  const key = await generateKey()
  const issuer = new X509Certificate(leaf.cert)
  const now = Date.now()
  const forged = await signCertificate(
    {
      issuer: { cluster: identity.cluster, name: 'fleetcat authority' },
      subject: { cluster: identity.cluster, unit: identity.kind, name: identity.name },
      publicKey: publicHalf(key),
      issuerPublicKey: issuer.publicKey,
      validity: { notBefore: new Date(now - 60_000), notAfter: new Date(now + 3_600_000) },
      role: 'leaf',
      names: [{ uri: formatName(identity) }],
      usages: ['clientAuth'],
    },
    keyFromPem(leaf.key),
  )
  return { key: keyToPem(key), cert: forged.toString(), ca: leaf.ca }
}

/** One that signs for itself. */
export async function selfSigned(identity: Identity, ca: string): Promise<TlsIdentity> {
  const key = await generateKey()
  const now = Date.now()
  const title = { cluster: identity.cluster, unit: identity.kind, name: identity.name }
  const certificate = await signCertificate(
    {
      issuer: title,
      subject: title,
      publicKey: publicHalf(key),
      issuerPublicKey: publicHalf(key),
      validity: { notBefore: new Date(now - 60_000), notAfter: new Date(now + 3_600_000) },
      role: 'leaf',
      names: [{ uri: formatName(identity) }],
      usages: ['clientAuth'],
    },
    key,
  )
  return { key: keyToPem(key), cert: certificate.toString(), ca }
}

import { createCsr } from '#identity/csr.ts'
import { type LoadedIdentity, loadIdentity, saveIdentity } from '#identity/files.ts'
import { generateKey, keyToPem } from '#identity/keys.ts'
import { renewAt } from '#identity/renewal.ts'
import { clientOptions, type TlsIdentity } from '#identity/tls.ts'
import { RelayError } from '#relay/errors.ts'
import { type Context, identityDir } from './config.ts'

/** What proves to a controller who we are. */
export interface Credentials {
  readonly identity: LoadedIdentity
  readonly pastHalfLife: boolean
}

/** Rejects with a RelayError that says what to run when there is no certificate, or no longer a good one. */
export async function readCredentials(context: Context): Promise<Credentials> {
  const identity = await loadIdentity(identityDir(context.name))
  const what = `operator ${context.operator} of context ${context.name}`
  if (!identity) {
    throw new RelayError('unauthenticated', {
      what,
      why: 'its key and certificate are gone',
      fix: remedy(context),
    })
  }
  const now = new Date()
  const until = identity.certificate.validToDate
  if (until <= now) {
    const why = `its certificate expired at ${until.toISOString()}`
    throw new RelayError('unauthenticated', { what, why, fix: remedy(context) })
  }
  return { identity, pastHalfLife: renewAt(identity.certificate, now) <= now }
}

/** How an operator gets a certificate again: whoever runs the controller by starting it, others from an admin. */
export function remedy({ operator, localAgent }: Pick<Context, 'operator' | 'localAgent'>): string {
  if (localAgent) return 'Start `fleetcat up` again, where it runs: that writes a new one'
  return (
    'If you run its controller as this user, start `fleetcat controller` again: that writes a new one. ' +
    `Else ask an admin for \`fleetcat token create operator --name ${operator}\`, and run \`fleetcat login TOKEN\``
  )
}

export const tlsOptions = (identity: TlsIdentity | Pick<TlsIdentity, 'ca'>) => clientOptions(identity)

/** A key that never leaves this host, and the request for a certificate over it. */
export async function freshKey(): Promise<{ keyPem: string; csrDer: Buffer }> {
  const key = await generateKey()
  return { keyPem: keyToPem(key), csrDer: await createCsr(key) }
}

export interface Grant {
  readonly certificatePem: string
  readonly authorityPem: string
}

/** In place of what was there, in one step. */
export async function keepCredentials(
  { name, addresses }: Pick<Context, 'name' | 'addresses'>,
  keyPem: string,
  { certificatePem, authorityPem }: Grant,
): Promise<void> {
  await saveIdentity(identityDir(name), {
    key: keyPem,
    cert: certificatePem,
    ca: authorityPem,
    details: { addresses },
  })
}

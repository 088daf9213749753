import { unary } from '#wire/call.ts'
import type { Fleet } from './client.ts'
import { freshKey, keepCredentials } from './credentials.ts'

/**
 * A fresh key and a certificate for it, for the next command. It comes after the command's own work and never fails
 * it: the old certificate is good for as long again, and the next command tries anew.
 */
export async function renew({ operator, context }: Fleet): Promise<void> {
  try {
    const { keyPem, csrDer } = await freshKey()
    const what = 'renew the certificate'
    const grant = await unary(operator, operator.renewCertificate, { csrDer }, { what, timeoutMs: 3_000 })
    await keepCredentials(context, keyPem, grant)
  } catch {
    // said by the command that finds the certificate expired
  }
}

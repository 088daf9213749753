import type { KeyObject } from 'node:crypto'
import { EnrollmentServiceClient, type EnrollResponse } from '#gen/fleetcat/v1/enrollment.ts'
import { createCsr } from '#identity/csr.ts'
import { generateKey, keyToPem } from '#identity/keys.ts'
import { fetchAuthority } from '#identity/pin.ts'
import { clientOptions, type TlsIdentity } from '#identity/tls.ts'
import { parseToken } from '#identity/token.ts'
import { unary } from '#wire/call.ts'
import { channelCredentials, channelOptions } from '#wire/channel.ts'

/** What a join token bought. */
export interface Newcomer extends TlsIdentity {
  readonly name: string
  readonly privateKey: KeyObject
  readonly answer: EnrollResponse
}

export interface Joining {
  /** The name that the newcomer asks for. */
  readonly name?: string
  /** In place of a new one. */
  readonly privateKey?: KeyObject
  readonly csr?: Buffer
  readonly secret?: Buffer
}

/** Trades a token for an identity, by the protocol that hosts and people use. Rejects with a RelayError. */
export async function redeem(text: string, joining: Joining = {}): Promise<Newcomer> {
  const token = parseToken(text)
  const address = token.addresses[0]!
  const [host, port] = [address.slice(0, address.lastIndexOf(':')), Number(address.split(':').at(-1))]
  const { caPem: ca } = await fetchAuthority(host, port, token.pin, { signal: AbortSignal.timeout(5_000) })
  const privateKey = joining.privateKey ?? (await generateKey())
  const csrDer = joining.csr ?? (await createCsr(privateKey))
  const secret = joining.secret ?? token.secret
  const client = new EnrollmentServiceClient(
    address,
    channelCredentials(clientOptions({ ca })),
    channelOptions,
  )
  try {
    const request = { tokenId: token.id, secret, csrDer, name: joining.name ?? '' }
    const answer = await unary(client, client.enroll, request, { what: 'join', timeoutMs: 10_000 })
    return {
      name: answer.name,
      key: keyToPem(privateKey),
      cert: answer.certificatePem,
      ca: answer.authorityPem,
      privateKey,
      answer,
    }
  } finally {
    client.close()
  }
}

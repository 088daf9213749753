import { X509Certificate } from 'node:crypto'
import { EnrollmentServiceClient } from '#gen/fleetcat/v1/enrollment.ts'
import { clusterOf } from '#identity/name.ts'
import { fetchAuthority } from '#identity/pin.ts'
import { type JoinToken, parseToken } from '#identity/token.ts'
import { RelayError } from '#relay/errors.ts'
import { unary } from '#wire/call.ts'
import { channelCredentials, channelOptionsFor } from '#wire/channel.ts'
import { failureOf } from '#wire/failure.ts'
import { parseHostPort } from '#wire/host-port.ts'
import { type Context, isContextName, readConfig } from './config.ts'
import { freeName, rememberContext } from './contexts.ts'
import { freshKey, keepCredentials, tlsOptions } from './credentials.ts'
import { usage } from './failure.ts'

/** Redeems an operator's join token. The key is made here; the controller is believed by the token's pin alone. */
export async function enrolOperator(
  text: string,
  asked: string | undefined,
): Promise<{ context: Context; role: string }> {
  const token = parseToken(text)
  if (token.kind !== 'operator') {
    throw usage('fleetcat login', `this token is for an ${token.kind}`, 'Give it to `fleetcat agent --join`')
  }
  if (asked !== undefined && !isContextName(asked)) {
    throw usage(`--context ${asked}`, 'it is no name for a context', 'Use letters, digits, `-`, `_` and `.`')
  }
  const { address, authority } = await reach(token)
  if (asked !== undefined) await refuseTaken(asked, clusterOf(new X509Certificate(authority)))
  const { keyPem, csrDer } = await freshKey()
  const client = new EnrollmentServiceClient(
    address,
    channelCredentials(tlsOptions({ ca: authority })),
    channelOptionsFor(address),
  )
  try {
    const request = { tokenId: token.id, secret: token.secret, csrDer, name: '' }
    const grant = await unary(client, client.enroll, request, { what: `log in at ${address}` })
    const whom = { cluster: grant.cluster, operator: grant.name }
    const context = { name: asked ?? freeName(await readConfig(), whom), addresses: token.addresses, ...whom }
    await keepCredentials(context, keyPem, grant)
    await rememberContext(context, { current: true })
    return { context, role: grant.role }
  } finally {
    client.close()
  }
}

/** Before the token is spent. */
async function refuseTaken(name: string, cluster: string): Promise<void> {
  const taken = (await readConfig()).contexts.find(context => context.name === name)
  if (!taken || taken.cluster === cluster) return
  throw usage(
    `--context ${name}`,
    `it is the context of ${taken.cluster}`,
    `Choose another name, or first: fleetcat contexts remove ${name}`,
  )
}

const patienceMs = 5_000

/** The first of the token's controllers that answers and shows the authority that the token pins. */
async function reach({ addresses, pin }: JoinToken): Promise<{ address: string; authority: string }> {
  const failures: string[] = []
  for (const address of addresses) {
    try {
      const fix = 'Ask for a new token'
      const { host, port } = parseHostPort(address, { what: `controller ${address}`, fix })
      const signal = AbortSignal.timeout(patienceMs)
      const { caPem } = await fetchAuthority(host, port, pin, { signal })
      return { address, authority: caPem }
    } catch (thrown) {
      const error = failureOf(thrown, `controller ${address}`)
      // Somebody who answers with another authority is a reason to stop, not to go on.
      if (error.code === 'denied') throw error
      failures.push(`${address} (${error.why || error.what})`)
    }
  }
  throw new RelayError('unavailable', {
    what: 'fleetcat login',
    why: `no controller of this token answers: ${failures.join(', ')}`,
    fix: 'Check the network between, or the address that the controller advertises',
  })
}

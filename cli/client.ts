import { OperatorServiceClient } from '#gen/fleetcat/v1/operator.ts'
import { RelayError } from '#relay/errors.ts'
import { unary } from '#wire/call.ts'
import { channelCredentials, channelOptionsFor } from '#wire/channel.ts'
import { inWords } from './acts.ts'
import type { Context } from './config.ts'
import { chosenContext } from './contexts.ts'
import { type Credentials, readCredentials, remedy, tlsOptions } from './credentials.ts'

export interface FleetOptions {
  readonly context?: string
}

/** An operator's line to a controller. */
export interface Fleet extends AsyncDisposable {
  readonly context: Context
  readonly credentials: Credentials
  /** The controller that is asked, as HOST:PORT: tunnels go there too. */
  readonly address: string
  readonly operator: OperatorServiceClient
}

/** Opens the chosen fleet, does the work, and afterwards renews the operator's certificate if that is due. */
export async function withFleet<T>(
  { context: asked }: FleetOptions,
  work: (operator: OperatorServiceClient, fleet: Fleet) => Promise<T>,
): Promise<T> {
  await using fleet = await openFleet(await chosenContext(asked))
  try {
    return await work(fleet.operator, fleet)
  } catch (thrown) {
    throw advised(thrown, fleet.context)
  } finally {
    if (fleet.credentials.pastHalfLife) await (await import('./renewal.ts')).renew(fleet)
  }
}

/** Rejects with a RelayError when there is no usable certificate, or none of several controllers answers. */
export async function openFleet(context: Context): Promise<Fleet> {
  const credentials = await readCredentials(context)
  const { address, client: operator } = await connect(context, credentials)
  return {
    address,
    context,
    credentials,
    operator,
    async [Symbol.asyncDispose]() {
      operator.close()
    },
  }
}

/** How long one of several controllers may take to answer before the next is tried. */
const patienceMs = 3_000

/** With one address the first call itself finds out whether somebody is there. */
async function connect({ name, addresses }: Context, { identity }: Credentials) {
  const failures: string[] = []
  for (const address of addresses) {
    const client = new OperatorServiceClient(
      address,
      channelCredentials(tlsOptions(identity)),
      channelOptionsFor(address),
    )
    if (addresses.length === 1) return { address, client }
    try {
      await unary(client, client.getStatus, {}, { what: `controller ${address}`, timeoutMs: patienceMs })
      return { address, client }
    } catch (thrown) {
      client.close()
      const error = RelayError.from(thrown, `controller ${address}`)
      if (error.code !== 'unavailable' && error.code !== 'timed-out') throw error
      failures.push(`${address} (${error.why || error.what})`)
    }
  }
  throw new RelayError('unavailable', {
    what: `the controllers of context ${name}`,
    why: `none of them answers: ${failures.join(', ')}`,
  })
}

/** Adds what to do to failures that mean "nobody there" or "nobody known". */
export function advised(thrown: unknown, context: Context): unknown {
  const { name, addresses, localAgent } = context
  if (thrown instanceof AggregateError)
    return new AggregateError(thrown.errors.map(each => advised(each, context)))
  if (!(thrown instanceof RelayError)) return thrown
  const error = inWords(thrown)
  if (error.fix) return error
  const { code, what, why } = error
  if (code === 'unavailable') {
    const start = localAgent ? 'Start it with `fleetcat up`' : 'Start it, or see to the network between'
    const fix = `${start}, or choose another fleet: \`fleetcat contexts\``
    return new RelayError(code, {
      what,
      why: `the controller of context ${name} (${addresses.join(', ')}) does not answer: ${why}`,
      fix,
      cause: thrown,
    })
  }
  if (code === 'unauthenticated') {
    return new RelayError(code, { what, why, fix: remedy(context), cause: thrown })
  }
  return error
}

import { X509Certificate } from 'node:crypto'
import { access, constants, mkdir, rm } from 'node:fs/promises'
import { hostname } from 'node:os'
import { EnrollmentServiceClient, type EnrollResponse } from '#gen/fleetcat/v1/enrollment.ts'
import { createCsr } from '#identity/csr.ts'
import { type LoadedIdentity, loadIdentity, saveIdentity } from '#identity/files.ts'
import { generateKey, keyToPem } from '#identity/keys.ts'
import { nearestName } from '#identity/name.ts'
import { fetchAuthority } from '#identity/pin.ts'
import { clientOptions } from '#identity/tls.ts'
import type { JoinToken } from '#identity/token.ts'
import { requireValid, validityOf } from '#identity/validity.ts'
import { RelayError } from '#relay/errors.ts'
import type { Logger } from '#telemetry/log.ts'
import { unary } from '#wire/call.ts'
import { channelCredentials, channelOptionsFor } from '#wire/channel.ts'
import { failureOf } from '#wire/failure.ts'
import { parseHostPort } from '#wire/host-port.ts'

export interface Enrolment {
  readonly token: JoinToken
  /** Where the identity will be. */
  readonly directory: string
  readonly name?: string
  readonly controllers?: readonly string[]
  readonly log: Logger
  /** How long one controller may take to show itself before the next is tried. */
  readonly patienceMs?: number
}

const answerMs = 15_000

/**
 * Trades a join token for an identity. The key is made here and never leaves. Rejects with an error that says what
 * to do, and then leaves nothing behind.
 */
export async function enrol({
  token,
  directory,
  name = '',
  controllers,
  log,
  patienceMs = 5_000,
}: Enrolment): Promise<LoadedIdentity> {
  if (token.kind !== 'agent') {
    throw new RelayError('usage', {
      what: 'join token refused',
      why: `it is for an ${token.kind}, not for an agent`,
      fix: `Use it with \`fleetcat login\`, and here a token of \`fleetcat token create agent\``,
    })
  }
  const addresses = controllers?.length ? controllers : token.addresses
  const undo = await prepare(directory)
  try {
    const key = await generateKey()
    const csrDer = await createCsr(key)
    const { ca, answer } = await redeemAnywhere(addresses, token, { csrDer, name, patienceMs })
    const certificate = new X509Certificate(answer.certificatePem)
    requireValid(validityOf(certificate), `the certificate of agent ${answer.name}`, new Date())
    const details = { cluster: answer.cluster, controllers: addresses }
    await saveIdentity(directory, { key: keyToPem(key), cert: answer.certificatePem, ca, details })
    log.info(
      { event: 'enrolled', agent: answer.name, cluster: answer.cluster, labels: answer.labels },
      'joined the fleet',
    )
    return (await loadIdentity(directory))!
  } catch (thrown) {
    await undo()
    throw failureOf(thrown, 'joining the fleet')
  }
}

/** The token is spent by its use, so it is tried first whether what it buys can be kept. */
async function prepare(directory: string): Promise<() => Promise<void>> {
  const made = await mkdir(directory, { recursive: true, mode: 0o700 })
  await access(directory, constants.W_OK)
  return async () => {
    if (made !== undefined) await rm(made, { recursive: true })
  }
}

interface Ask {
  readonly csrDer: Buffer
  readonly name: string
  readonly patienceMs: number
}

/** Controllers that do not answer are passed over; one that answers has the last word. */
async function redeemAnywhere(addresses: readonly string[], token: JoinToken, ask: Ask) {
  const silent: string[] = []
  for (const address of addresses) {
    const outcome = await redeem(address, token, ask).catch(thrown =>
      failureOf(thrown, `controller ${address}`),
    )
    if (!(outcome instanceof RelayError)) return outcome
    if (!isSilence(outcome)) throw outcome
    silent.push(`${address} (${outcome.why || outcome.what})`)
  }
  throw new RelayError('unavailable', {
    what: 'joining the fleet',
    why: `no controller answers: ${silent.join(', ')}`,
    fix: 'See to the network between, or name the right address with --controller',
  })
}

const isSilence = ({ code }: RelayError) =>
  ['unavailable', 'refused', 'timed-out', 'unreachable', 'unresolved', 'reset', 'closed'].includes(code)

async function redeem(
  address: string,
  token: JoinToken,
  { csrDer, name, patienceMs }: Ask,
): Promise<{ ca: string; answer: EnrollResponse }> {
  const { host, port } = parseHostPort(address, {
    what: `controller ${address}`,
    fix: 'Write e.g. controller.example.com:7443',
  })
  const signal = AbortSignal.timeout(patienceMs)
  const { caPem: ca } = await fetchAuthority(host, port, token.pin, { signal })
  const client = new EnrollmentServiceClient(
    address,
    channelCredentials(clientOptions({ ca })),
    channelOptionsFor(address),
  )
  try {
    const ask = (called: string) =>
      unary(
        client,
        client.enroll,
        { tokenId: token.id, secret: token.secret, csrDer, name: called },
        { what: 'joining the fleet', timeoutMs: answerMs },
      )
    try {
      return { ca, answer: await ask(name) }
    } catch (thrown) {
      // A token may leave the name open; the host's own is then as good as any. Nothing is spent by the first question.
      if (name || RelayError.from(thrown, 'joining the fleet').code !== 'usage') throw thrown
      return { ca, answer: await ask(nearestName(hostname())) }
    }
  } finally {
    client.close()
  }
}

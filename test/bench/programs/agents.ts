// Some hundreds of simulated agents in one process.
import { setTimeout as delay } from 'node:timers/promises'
import { EnrollmentServiceClient } from '#gen/fleetcat/v1/enrollment.ts'
import { createCsr } from '#identity/csr.ts'
import { generateKey, keyToPem } from '#identity/keys.ts'
import { fetchAuthority } from '#identity/pin.ts'
import { clientOptions, type TlsIdentity } from '#identity/tls.ts'
import { parseToken } from '#identity/token.ts'
import { openLog } from '#telemetry/log.ts'
import { unary } from '#wire/call.ts'
import { channelCredentials, channelOptionsFor } from '#wire/channel.ts'
import { sharedNow } from '../clock.ts'
import { answerQuestions } from '../processes.ts'
import { type SimulatedAgent, simulateAgent } from './simulated-agent.ts'

export type AgentsQuestion =
  | { readonly do: 'enrol'; readonly token: string; readonly names: readonly string[] }
  /** Answers when each had applied its first Sync. */
  | { readonly do: 'attach' }
  /** Answers when each was told of this relay or revocation; those that were not have NaN. */
  | { readonly do: 'told'; readonly id: string }
  /** Cuts every stream at once. Answers when it did so, and when each was welcomed and had its lease again. */
  | { readonly do: 'cut' }
  | { readonly do: 'leave' }

const atOnce = 4
const patienceMs = 60_000
const identities = new Map<string, TlsIdentity>()
const agents: SimulatedAgent[] = []
let address = ''

answerQuestions<AgentsQuestion>(async question => {
  switch (question.do) {
    case 'enrol':
      return enrol(question.token, [...question.names])
    case 'attach':
      return attach()
    case 'told':
      return agents.map(({ told }) => told.get(question.id) ?? Number.NaN)
    case 'cut':
      return cutAll()
    case 'leave':
      await Promise.all(agents.map(agent => agent[Symbol.asyncDispose]()))
  }
})

async function enrol(text: string, names: string[]): Promise<void> {
  const token = parseToken(text)
  address = token.addresses[0]!
  const [host, port] = address.split(':') as [string, string]
  const signal = AbortSignal.timeout(patienceMs)
  const { caPem: ca } = await fetchAuthority(host, Number(port), token.pin, { signal })
  const client = new EnrollmentServiceClient(
    address,
    channelCredentials(clientOptions({ ca })),
    channelOptionsFor(address),
  )
  const worker = async () => {
    for (let name = names.shift(); name; name = names.shift()) {
      const key = await generateKey()
      const request = { tokenId: token.id, secret: token.secret, csrDer: await createCsr(key), name }
      const { certificatePem } = await unary(client, client.enroll, request, { what: `enrol ${name}` })
      identities.set(name, { key: keyToPem(key), cert: certificatePem, ca })
    }
  }
  try {
    await Promise.all(Array.from({ length: atOnce }, worker))
  } finally {
    client.close()
  }
}

async function attach(): Promise<number[]> {
  const log = await openLog('bench', 'silent')
  for (const [name, identity] of identities) agents.push(simulateAgent(name, { address, identity, log }))
  await all('attached', ({ syncedAt }) => syncedAt > 0)
  return agents.map(({ syncedAt }) => syncedAt)
}

async function cutAll(): Promise<{ cutAt: number; welcomedAt: number[]; leasedAt: number[] }> {
  const cutAt = sharedNow()
  for (const agent of agents) agent.cut()
  await all(
    'back',
    ({ attached, welcomedAt, leasedAt }) => attached && welcomedAt > cutAt && leasedAt > welcomedAt,
  )
  return {
    cutAt,
    welcomedAt: agents.map(({ welcomedAt }) => welcomedAt),
    leasedAt: agents.map(({ leasedAt }) => leasedAt),
  }
}

async function all(what: string, holds: (agent: SimulatedAgent) => boolean): Promise<void> {
  const deadline = performance.now() + patienceMs
  while (!agents.every(holds)) {
    if (performance.now() > deadline) {
      throw new Error(`${agents.filter(agent => !holds(agent)).length} agents are not ${what}`)
    }
    await delay(10)
  }
}

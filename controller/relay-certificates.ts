import type { Relay } from '#gen/fleetcat/v1/relay.ts'
import type { Authority } from '#identity/ca.ts'
import { readCsr } from '#identity/csr.ts'
import { certificateWishes } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'
import { canonicalIp } from '#relay/ip.ts'
import { failureOf } from '#wire/failure.ts'
import type { Actor } from './actor.ts'
import { type Budget, openBudget } from './audit/budget.ts'
import type { Ledger } from './audit/ledger.ts'
import { timeLeft } from './expiry.ts'
import type { Mirror } from './mirror.ts'
import type { Placement } from './placement.ts'

/**
 * Certificates for relays whose addresses say `cert=auto`, on the agents that run them. Of a request only the public key
 * is taken; for whom the certificate is, the relay's own addresses say.
 */
export interface RelayCertificates {
  /** Rejects with a RelayError when the agent does not run such a relay now, or asks too often. */
  issue(
    by: Actor,
    relayId: string,
    csrDer: Uint8Array,
  ): Promise<{ certificatePem: string; authorityPem: string }>
}

type Wishes = ReturnType<typeof certificateWishes>

interface Parts {
  readonly authority: Authority
  readonly mirror: Pick<Mirror, 'relaysById'>
  readonly placement: Pick<Placement, 'runsOn'>
  readonly ledger: Ledger
  readonly lifetimeMs: number
}

export function openRelayCertificates({
  authority,
  mirror,
  placement,
  ledger,
  lifetimeMs,
}: Parts): RelayCertificates {
  const budgets = new Map<string, Budget>()

  function spend(agent: string): void {
    const budget = budgets.get(agent) ?? openBudget()
    budgets.set(agent, budget)
    if (budget.take() !== undefined) return
    const why = 'this agent has asked for too many in a short time'
    throw new RelayError('exhausted', { what: `agent/${agent}`, why, fix: 'Ask again in a while' })
  }

  /** The relay, if this agent is to run it at this moment. */
  function ofAgent(relayId: string, agent: string): Relay & { spec: NonNullable<Relay['spec']> } {
    const relay = mirror.relaysById.get(relayId)
    const what = `certificate for relay/${relay?.name ?? relayId}`
    if (!relay?.spec) throw new RelayError('not-found', { what, why: 'there is no such relay any more' })
    if (!placement.runsOn(relay, agent)) {
      throw new RelayError('denied', { what, why: `it does not run on agent/${agent}` })
    }
    if (timeLeft(relay) === 0) throw new RelayError('expired', { what, why: 'the time of the relay is over' })
    return { ...relay, spec: relay.spec }
  }

  function wishesOf({ name, spec }: ReturnType<typeof ofAgent>): Wishes {
    const wishes = certificateWishes(spec)
    if (wishes.length > 0) return wishes
    const what = `certificate for relay/${name}`
    throw new RelayError('denied', { what, why: 'none of its addresses says `cert=auto`' })
  }

  return {
    async issue(by, relayId, csrDer) {
      const { name: agent } = by
      spend(agent)
      const relay = ofAgent(relayId, agent)
      const wishes = wishesOf(relay)
      const hosts = hostsOf(wishes, agent)
      const what = `certificate for relay/${relay.name}`
      try {
        const { publicKey } = readCsr(Buffer.from(csrDer))
        const usages = new Set(wishes.map(({ side }) => usage[side]))
        const order = { relay: relay.name, agent, publicKey, lifetimeMs, hosts, usages: [...usages] }
        const certificatePem = await authority.issueForRelay(order)
        await ledger.write({
          by,
          event: 'relay.certified',
          target: `relay/${relay.name}`,
          fields: { relay: relay.name, id: relay.id, hosts, lifetimeMs },
          words: 'a relay got a certificate',
        })
        // The relay may have been revoked while the row was written.
        ofAgent(relayId, agent)
        return { certificatePem, authorityPem: authority.certificatePem }
      } catch (thrown) {
        throw failureOf(thrown, what)
      }
    },
  }
}

const usage = { server: 'serverAuth', client: 'clientAuth' } as const

/** A newcomer may choose its own name: one that looks like an IP would let it answer for that IP. */
function hostsOf(wishes: Wishes, agent: string): string[] {
  const own = wishes.some(({ namesHost }) => namesHost) && isHostName(agent) ? [agent] : []
  return [...new Set([...wishes.flatMap(({ names }) => names), ...own])]
}

const isHostName = (name: string) =>
  canonicalIp(name) === undefined &&
  name.split('.').every(label => /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/.test(label))

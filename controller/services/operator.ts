import type { OperatorServiceService, RevocationView } from '#gen/fleetcat/v1/operator.ts'
import { RelayError } from '#relay/errors.ts'
import { version } from '#wire/version.ts'
import { openReading } from '../audit/reading.ts'
import { changesOf } from '../followed.ts'
import type { Parts } from '../parts.ts'
import { openWatches } from '../watching.ts'
import { wouldCut } from '../would-cut.ts'
import type { Acts } from './handlers.ts'

/** What the command line asks. Thin: each act decodes, delegates, and shows. */
export function operatorActs(parts: Parts): Acts<typeof OperatorServiceService> {
  const { mirror, hosts, views, relays, revocations, tokens, credentials, access } = parts
  const fleet = openWatches([hosts.onChange, mirror.onChange])

  const audit = openReading(parts.store.audit)

  function revocation(id: string): RevocationView {
    const found = mirror.revocations.get(id)
    if (!found)
      throw new RelayError('not-found', {
        what: `revocation/${id}`,
        why: 'there is none of this id',
        fix: '`fleetcat revocations` shows what was revoked',
      })
    return views.revocation(found.value)
  }

  return {
    async getStatus() {
      const all = [...hosts.all()]
      return {
        cluster: parts.cluster,
        version,
        startedAt: parts.startedAt,
        clock: new Date(),
        epoch: parts.epoch,
        revision: mirror.rev,
        agents: [...mirror.agents.values()].filter(({ value }) => !value.revoked).length,
        agentsAttached: all.filter(host => host.session).length,
        relays: mirror.relays.size,
        connections: all.reduce((sum, host) => sum + (host.session ? host.connections.size : 0), 0),
        advertised: parts.advertised(),
      }
    },

    async whoAmI(_, caller) {
      const role = mirror.operators.get(caller.name)?.value.role ?? ''
      return { cluster: parts.cluster, name: caller.name, role, expiresAt: caller.expiresAt }
    },

    async renewCertificate({ csrDer }, caller) {
      return credentials.renew({ ...caller, kind: 'operator' }, csrDer)
    },

    async createRelay({ draft, requestId, dryRun }, caller) {
      const { relay, unchanged } = await relays.create(draft, caller, requestId, dryRun)
      return { relay: views.relay(relay), unchanged }
    },

    async applyRelays(request, caller) {
      access.mayApply(caller, request.dryRun)
      return { changes: await parts.fleetFile.apply(request, caller) }
    },

    async listRelays({ filter }) {
      return { relays: views.relays(filter) }
    },

    watchRelays: ({ filter }, caller, signal) =>
      fleet.watch({
        caller: caller.name,
        subject: `relays ${JSON.stringify(filter)}`,
        look: () => ({ relays: views.relays(filter) }),
        signal,
      }),

    async listAgents({ selector, name }) {
      return { agents: views.agents(selector, name) }
    },

    watchAgents: ({ selector }, caller, signal) =>
      fleet.watch({
        caller: caller.name,
        subject: `agents ${selector}`,
        look: () => ({ agents: views.agents(selector) }),
        signal,
      }),

    async listConnections({ filter }) {
      return views.connections(filter)
    },

    watchConnections: ({ filter }, caller, signal) =>
      fleet.watch({
        caller: caller.name,
        subject: `connections ${JSON.stringify(filter)}`,
        look: () => views.connections(filter),
        signal,
      }),

    watchDump: (request, caller, signal) => parts.dumps.watch(request, caller, signal),

    probe: (request, caller, signal) => parts.probes.run(request, caller, signal),

    openTunnel: (request, caller, signal) => parts.tunnels.open(request, caller, signal),

    async revoke(request, caller) {
      access.mayRevoke(caller, request.target)
      const { revocation: made, unchanged } = await revocations.revoke(request, caller, {
        urgent: true,
      })
      const connections = request.dryRun && !unchanged ? wouldCut(hosts.all(), made) : 0
      return { revocation: views.revocation(made), unchanged, connections }
    },

    async lift(request, caller) {
      const target = mirror.revocations.get(request.id)?.value.target
      if (target !== undefined) access.mayRevoke(caller, target)
      const { revocation: lifted, unchanged } = await revocations.lift(request, caller)
      return { revocation: views.revocation(lifted), unchanged }
    },

    async *watchRevocation({ ids }, caller, signal) {
      const wanted = [...new Set(ids)]
      if (wanted.length === 0) {
        const fix = 'Name at least one'
        throw new RelayError('usage', { what: 'watchRevocation', why: 'it names no revocation', fix })
      }
      const looks = fleet.watch({
        caller: caller.name,
        subject: `revocations ${wanted}`,
        look: () => wanted.map(revocation),
        signal,
        pauseMs: 20,
      })
      for await (const changed of changesOf(looks)) yield { revocation: changed }
    },

    async listRevocations({ id, ...filter }) {
      return { revocations: id ? [revocation(id)] : views.revocations(filter) }
    },

    async createToken(request, caller) {
      return tokens.create(request, caller)
    },

    async listTokens() {
      return { tokens: tokens.list() }
    },

    readAudit: (request, caller, signal) => audit.read(request, caller, signal),

    async revokeToken({ id }, caller) {
      return { view: await tokens.revoke(id, caller) }
    },
  }
}

import { CreateRelayRequest, RelayDraft, RevokeRequest } from '#gen/fleetcat/v1/operator.ts'
import type { Relay } from '#gen/fleetcat/v1/relay.ts'
import type { TestController, TestOperator } from './fleet.ts'

type Draft = Parameters<typeof RelayDraft.fromPartial>[0]
type Spec = NonNullable<Draft['spec']>

/** What a test asks for: a small relay named `name`, on agent `edge-1` unless it says otherwise. */
export function draft(name: string, spec: Spec = {}, more: Draft = {}): RelayDraft {
  const placed = spec.agents || spec.selector !== undefined ? {} : { agents: ['edge-1'] }
  return RelayDraft.fromPartial({
    name,
    spec: { listen: 'TCP4-LISTEN:8080,fork', targets: ['TCP4:127.0.0.1:80'], ...placed, ...spec },
    ...more,
  })
}

/** Creates it as the admin, or as whoever is given. */
export async function create(
  { admin }: Pick<TestController, 'admin'>,
  wanted: RelayDraft,
  { requestId = '', dryRun = false, by = admin as TestOperator } = {},
): Promise<{ relay: Relay; unchanged: boolean }> {
  const request = CreateRelayRequest.fromPartial({ draft: wanted, requestId, dryRun })
  const { relay, unchanged } = await by.ask(c => c.createRelay, request)
  return { relay: relay!.relay!, unchanged }
}

/** Changes it, or makes it, as `fleetcat apply` would. */
export async function apply(
  { admin }: Pick<TestController, 'admin'>,
  drafts: RelayDraft[],
  { dryRun = false, pruneSelector = '' } = {},
) {
  const prune = pruneSelector !== ''
  const { changes } = await admin.ask(c => c.applyRelays, {
    drafts,
    prune,
    pruneSelector,
    requestId: '',
    dryRun,
  })
  return changes
}

export async function revoke(
  { admin }: Pick<TestController, 'admin'>,
  target: string,
  more: Partial<RevokeRequest> = {},
) {
  const { revocation, unchanged, connections } = await admin.ask(
    c => c.revoke,
    RevokeRequest.fromPartial({ target, ...more }),
  )
  return { revocation: revocation!.revocation!, verdicts: revocation!.verdicts, unchanged, connections }
}

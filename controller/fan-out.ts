import type { Hosts } from './hosts.ts'
import type { Mirror, MirrorChange } from './mirror.ts'
import type { Placement } from './placement.ts'
import type { Revocations } from './revocations.ts'

interface Parts {
  readonly mirror: Mirror
  readonly hosts: Hosts
  readonly placement: Placement
  readonly revocations: Revocations
}

/**
 * Carries every change of the store to the agents that it concerns and that are attached here. Nothing else pushes:
 * an order is a row in the store, and whoever holds the agent's stream passes it on.
 */
export function openFanOut({ mirror, hosts, placement, revocations }: Parts): Disposable {
  const labels = new Map<string, string>()

  function carry(change: MirrorChange): void {
    for (const id of change.revocations) order(id)
    for (const agent of change.agents) relabel(agent)
    if (change.relayIds.length === 0) return
    for (const host of hosts.all()) {
      for (const id of change.relayIds) if (!mirror.relaysById.has(id)) host.reports.delete(id)
      host.session?.relaysChanged(change.relayIds)
    }
  }

  function order(id: string): void {
    const revocation = mirror.revocations.get(id)?.value
    if (!revocation) return
    for (const agent of revocation.agents) hosts.get(agent)?.session?.order(revocations.orderOf(revocation))
  }

  /** A renewed certificate changes the agent's row too; only new labels change what it has to run. */
  function relabel(agent: string): void {
    const now = JSON.stringify(placement.labelsOf(agent))
    if (labels.get(agent) === now) return
    labels.set(agent, now)
    hosts.get(agent)?.session?.resync()
  }

  const stop = mirror.onChange(carry)
  return { [Symbol.dispose]: stop }
}

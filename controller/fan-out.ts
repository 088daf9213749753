import type { Hosts } from './hosts.ts'
import type { Locks } from './locks.ts'
import type { Mirror, MirrorChange } from './mirror.ts'
import type { Revocations } from './revocations.ts'

interface Parts {
  readonly mirror: Mirror
  readonly hosts: Hosts
  readonly locks: Locks
  readonly revocations: Revocations
}

/**
 * Carries every change of the store to the agents that it concerns and that are attached here. Nothing else pushes:
 * an order is a row in the store, and whoever holds the agent's stream passes it on.
 */
export function openFanOut({ mirror, hosts, locks, revocations }: Parts): Disposable {
  function carry(change: MirrorChange): void {
    if (change.everything) {
      // A Sync carries the pending revocations too, and closes what is absent.
      for (const host of hosts.all()) host.session?.resync()
      return
    }
    for (const id of change.revocations) order(id)
    for (const agent of change.relabelled) hosts.get(agent)?.session?.resync()
    if (change.relayIds.length === 0) return
    for (const host of hosts.all()) {
      for (const id of change.relayIds) if (!mirror.relaysById.has(id)) host.reports.delete(id)
      host.session?.relaysChanged(change.relayIds)
    }
  }

  function order(id: string): void {
    const revocation = mirror.revocations.get(id)?.value
    if (!revocation) return
    for (const agent of revocation.agents) {
      if (!mirror.receipt(id, agent)) hosts.get(agent)?.session?.order(revocations.orderOf(revocation, agent))
    }
  }

  const stops = [
    mirror.onChange(carry),
    locks.onBans(() => {
      for (const host of hosts.all()) host.session?.bansChanged()
    }),
  ]
  return {
    [Symbol.dispose]() {
      for (const stop of stops) stop()
    },
  }
}

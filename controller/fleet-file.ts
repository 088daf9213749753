import { type ApplyRelaysRequest, ChangeKind, type RelayChange } from '#gen/fleetcat/v1/operator.ts'
import { RelayError } from '#relay/errors.ts'
import type { Actor } from './actor.ts'
import type { Mirror } from './mirror.ts'
import type { Relays } from './relays.ts'
import type { Revocations } from './revocations.ts'
import { parseSelector } from './selector.ts'

/** Files that say what the fleet shall be: all drafts are checked before the first is written. */
export interface FleetFile {
  apply(request: ApplyRelaysRequest, by: Actor): Promise<RelayChange[]>
}

export function openFleetFile({
  mirror,
  relays,
  revocations,
}: {
  mirror: Mirror
  relays: Relays
  revocations: Revocations
}): FleetFile {
  function surplus({ drafts, prune, pruneSelector }: ApplyRelaysRequest) {
    if (!prune) return []
    if (!pruneSelector) {
      throw new RelayError('usage', {
        what: 'apply --prune',
        why: 'it would end every relay that the files do not name',
        fix: 'Say which relays the files are the whole of: --prune -l SELECTOR',
      })
    }
    const selector = parseSelector(pruneSelector)
    const kept = new Set(drafts.map(draft => draft.name))
    return [...mirror.relays.values()]
      .map(({ value }) => value)
      .filter(relay => !kept.has(relay.name) && selector.matches(relay.labels))
  }

  return {
    async apply(request, by) {
      const names = request.drafts.map(draft => draft.name)
      const twice = names.find((name, i) => names.indexOf(name) !== i)
      if (twice !== undefined) {
        throw new RelayError('usage', { what: `relay/${twice}`, why: 'the files name it twice' })
      }
      const ending = surplus(request)
      const changes: RelayChange[] = []
      for (const draft of request.drafts) changes.push(await relays.apply(draft, by, request.requestId, true))
      if (!request.dryRun) {
        changes.length = 0
        for (const draft of request.drafts)
          changes.push(await relays.apply(draft, by, request.requestId, false))
      }
      for (const before of ending) {
        const order = {
          target: `relay/${before.name}`,
          reason: 'pruned by apply',
          requestId: request.requestId,
          dryRun: request.dryRun,
        }
        const { revocation } = await revocations.revoke(order, by)
        const revocationId = request.dryRun ? '' : revocation.id
        changes.push({ kind: ChangeKind.PRUNED, name: before.name, before, after: undefined, revocationId })
      }
      return changes
    },
  }
}

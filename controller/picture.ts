import type { Receipt, Relay, Revocation } from '#gen/fleetcat/v1/relay.ts'
import {
  type AgentRecord,
  type AppliedRecord,
  type DeadKeyRecord,
  type FormerLabelsRecord,
  type FormerPlacementRecord,
  type OperatorRecord,
  rows,
  type SeenRecord,
  type TokenRecord,
} from './records.ts'
import { parseSelector } from './selector.ts'
import type { Rev } from './store/store.ts'
import type { Codec } from './store/table.ts'
import { parseTarget } from './target.ts'
import { openUnanswered } from './unanswered.ts'

export interface Mirrored<T> {
  readonly value: T
  readonly modRev: Rev
}

export type Rows<T> = ReadonlyMap<string, Mirrored<T>>

/** The rows of the store at one moment, decoded, and what is looked up by other than their names. */
export interface Pictured {
  readonly relays: Rows<Relay>
  readonly relaysById: ReadonlyMap<string, Relay>
  readonly agents: Rows<AgentRecord>
  readonly operators: Rows<OperatorRecord>
  readonly tokens: Rows<TokenRecord>
  readonly seen: Rows<SeenRecord>
  readonly deadKeys: Rows<DeadKeyRecord>
  readonly revocations: Rows<Revocation>
  readonly formerPlacements: Rows<FormerPlacementRecord>
  readonly formerLabels: Rows<FormerLabelsRecord>
  readonly applied: Rows<AppliedRecord>
  receipt(revocationId: string, agent: string): Receipt | undefined
  /** The ids of the revocations of which this agent has sent no receipt. */
  unanswered(agent: string): readonly string[]
}

export type ShelfName = Exclude<keyof typeof rows, 'cluster' | 'cursors'>

export interface Picture extends Pictured {
  /** Brings one row up to date; without bytes it is gone. Answers where it stands, unless it is none of ours. */
  place(
    key: string,
    bytes: Uint8Array | undefined,
    modRev: Rev,
  ): { shelf: ShelfName; name: string } | undefined
  relayIdAt(key: string): string | undefined
}

interface Shelf {
  readonly prefix: string
  load(name: string, bytes: Uint8Array | undefined, modRev: Rev): void
}

function shelf<T>(
  { prefix, codec }: { prefix: string; codec: Codec<T> },
  check: (value: T) => void = () => {},
): { items: Map<string, Mirrored<T>> } & Shelf {
  const items = new Map<string, Mirrored<T>>()
  return {
    prefix,
    items,
    load(name, bytes, modRev) {
      if (!bytes) return void items.delete(name)
      try {
        const value = codec.decode(bytes)
        check(value)
        items.set(name, { value, modRev })
      } catch (thrown) {
        items.delete(name)
        throw thrown
      }
    },
  }
}

/** A row that cannot be read is left out, and `unreadable` is told: one of them must not take the fleet down. */
export function openPicture(unreadable: (key: string, thrown: unknown) => void): Picture {
  const shelves = {
    relays: shelf(rows.relays, ({ spec }) => void parseSelector(spec?.selector ?? '')),
    agents: shelf(rows.agents),
    operators: shelf(rows.operators),
    tokens: shelf(rows.tokens),
    seen: shelf(rows.seen),
    deadKeys: shelf(rows.deadKeys),
    revocations: shelf(rows.revocations, ({ target }) => void parseTarget(target)),
    receipts: shelf(rows.receipts),
    formerPlacements: shelf(rows.formerPlacements, ({ selector }) => void parseSelector(selector)),
    formerLabels: shelf(rows.formerLabels),
    applied: shelf(rows.applied),
  } satisfies Record<ShelfName, Shelf>
  const byPrefix = Object.entries(shelves) as [ShelfName, Shelf][]
  const { relays, revocations, receipts } = shelves
  const relaysById = new Map<string, Relay>()
  const unanswered = openUnanswered()

  function load(shelf: Shelf, key: string, name: string, bytes: Uint8Array | undefined, modRev: Rev): void {
    try {
      shelf.load(name, bytes, modRev)
    } catch (thrown) {
      unreadable(key, thrown)
    }
  }

  function forgetId(name: string): void {
    const old = relays.items.get(name)
    if (old) relaysById.delete(old.value.id)
  }
  function learnId(name: string): void {
    const now = relays.items.get(name)
    if (now) relaysById.set(now.value.id, now.value)
  }
  function learnOrder(id: string): void {
    const order = revocations.items.get(id)
    if (order) unanswered.asked(order.value, agent => receipts.items.has(`${id}/${agent}`))
  }
  function learnAnswer(name: string): void {
    const at = name.indexOf('/')
    if (receipts.items.has(name)) unanswered.answered(name.slice(0, at), name.slice(at + 1))
  }

  return {
    relays: relays.items,
    relaysById,
    agents: shelves.agents.items,
    operators: shelves.operators.items,
    tokens: shelves.tokens.items,
    seen: shelves.seen.items,
    deadKeys: shelves.deadKeys.items,
    revocations: revocations.items,
    formerPlacements: shelves.formerPlacements.items,
    formerLabels: shelves.formerLabels.items,
    applied: shelves.applied.items,
    unanswered: unanswered.of,
    receipt: (revocationId, agent) => receipts.items.get(`${revocationId}/${agent}`)?.value,
    place(key, bytes, modRev) {
      const [found, shelf] = byPrefix.find(([, { prefix }]) => key.startsWith(prefix)) ?? []
      if (!found || !shelf) return undefined
      const name = key.slice(shelf.prefix.length)
      if (found === 'relays') forgetId(name)
      load(shelf, key, name, bytes, modRev)
      if (found === 'relays') learnId(name)
      if (found === 'revocations') learnOrder(name)
      if (found === 'receipts') learnAnswer(name)
      return { shelf: found, name }
    },
    relayIdAt: key =>
      key.startsWith(relays.prefix) ? relays.items.get(key.slice(relays.prefix.length))?.value.id : undefined,
  }
}

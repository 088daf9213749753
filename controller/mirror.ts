import type { Receipt, Relay, Revocation } from '#gen/fleetcat/v1/relay.ts'
import {
  type AgentRecord,
  type DeadKeyRecord,
  type OperatorRecord,
  rows,
  type SeenRecord,
  type TokenRecord,
} from './records.ts'
import { type Rev, type Revision, type Store, StoreError } from './store/store.ts'
import type { Codec } from './store/table.ts'
import { openUnanswered } from './unanswered.ts'

export interface Mirrored<T> {
  readonly value: T
  readonly modRev: Rev
}

type Rows<T> = ReadonlyMap<string, Mirrored<T>>

/** What one revision touched: the names of rows, and the ids of the relays concerned, before and after. */
export interface MirrorChange {
  readonly rev: Rev
  /** The history had a gap: anything may have changed, and what has gone is not named here. */
  readonly everything: boolean
  readonly relayIds: readonly string[]
  readonly agents: readonly string[]
  readonly operators: readonly string[]
  readonly revocations: readonly string[]
}

/**
 * The store's state in memory, kept true by the watch. Services read here and write to the store, so that one
 * controller or several behave alike: what anybody committed arrives by the same way.
 */
export interface Mirror extends AsyncDisposable {
  readonly rev: Rev
  readonly relays: Rows<Relay>
  readonly relaysById: ReadonlyMap<string, Relay>
  readonly agents: Rows<AgentRecord>
  readonly operators: Rows<OperatorRecord>
  readonly tokens: Rows<TokenRecord>
  readonly seen: Rows<SeenRecord>
  readonly deadKeys: Rows<DeadKeyRecord>
  readonly revocations: Rows<Revocation>
  receipt(revocationId: string, agent: string): Receipt | undefined
  /** The ids of the revocations of which this agent has sent no receipt. */
  unanswered(agent: string): readonly string[]
  /** Resolves once the mirror shows the state of `rev`: a writer waits for it, and then reads its own write. */
  caughtUp(rev: Rev): Promise<void>
  /** The changes of relays after `rev`, or nothing when they are no longer remembered. */
  relayChangesSince(rev: Rev): readonly MirrorChange[] | undefined
  onChange(listener: (change: MirrorChange) => void): () => void
  /** Rejects when the watch fails for good: the controller must then stop rather than act on an old picture. */
  readonly failed: Promise<never>
}

const remembered = 10_000

interface Shelf {
  readonly prefix: string
  load(name: string, bytes: Uint8Array | undefined, modRev: Rev): void
  clear(): void
}

function shelf<T>({
  prefix,
  codec,
}: {
  prefix: string
  codec: Codec<T>
}): { items: Map<string, Mirrored<T>> } & Shelf {
  const items = new Map<string, Mirrored<T>>()
  return {
    prefix,
    items,
    load(name, bytes, modRev) {
      if (bytes) items.set(name, { value: codec.decode(bytes), modRev })
      else items.delete(name)
    },
    clear: () => items.clear(),
  }
}

export async function openMirror(store: Store): Promise<Mirror> {
  const relays = shelf(rows.relays)
  const agents = shelf(rows.agents)
  const operators = shelf(rows.operators)
  const tokens = shelf(rows.tokens)
  const seen = shelf(rows.seen)
  const deadKeys = shelf(rows.deadKeys)
  const revocations = shelf(rows.revocations)
  const receipts = shelf(rows.receipts)
  const shelves: readonly Shelf[] = [relays, agents, operators, tokens, seen, deadKeys, revocations, receipts]

  const relaysById = new Map<string, Relay>()
  const unanswered = openUnanswered()
  const ring: MirrorChange[] = []
  const listeners = new Set<(change: MirrorChange) => void>()
  const waiting = new Set<{ rev: Rev; resolve(): void }>()
  let rev: Rev = 0n
  let ringStart: Rev = 0n

  function place(
    key: string,
    bytes: Uint8Array | undefined,
    modRev: Rev,
  ): { shelf: Shelf; name: string } | undefined {
    const found = shelves.find(({ prefix }) => key.startsWith(prefix))
    if (!found) return undefined
    const name = key.slice(found.prefix.length)
    if (found === relays) forgetId(name)
    found.load(name, bytes, modRev)
    if (found === relays) learnId(name)
    if (found === revocations) learnOrder(name)
    if (found === receipts) unanswered.answered(...split(name))
    return { shelf: found, name }
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
  const split = (name: string): [string, string] => {
    const at = name.indexOf('/')
    return [name.slice(0, at), name.slice(at + 1)]
  }

  async function reload(): Promise<void> {
    for (const each of shelves) each.clear()
    relaysById.clear()
    unanswered.clear()
    let after: string | undefined
    let first: Rev | undefined
    for (;;) {
      const page = await store.list('', { after, limit: 5_000 })
      first ??= page.rev
      for (const entry of page.items) place(entry.key, entry.value, entry.modRev)
      after = page.items.at(-1)?.key
      if (!page.more) break
    }
    ring.length = 0
    ringStart = first
    advance({
      rev: first,
      everything: true,
      relayIds: [...relaysById.keys()],
      agents: [...agents.items.keys()],
      operators: [...operators.items.keys()],
      revocations: [...revocations.items.keys()],
    })
  }

  function advance(change: MirrorChange): void {
    rev = change.rev
    for (const wait of waiting) {
      if (wait.rev > rev) continue
      waiting.delete(wait)
      wait.resolve()
    }
    for (const listener of listeners) listener(change)
  }

  function apply({ rev, events }: Revision): void {
    const relayIds = new Set<string>()
    const touched = {
      agents: new Set<string>(),
      operators: new Set<string>(),
      revocations: new Set<string>(),
    }
    for (const event of events) {
      const key = 'put' in event ? event.put.key : event.delete.key
      const before = relayIdAt(key)
      const placed =
        'put' in event ? place(key, event.put.value, event.put.modRev) : place(key, undefined, 0n)
      if (before) relayIds.add(before)
      const after = relayIdAt(key)
      if (after) relayIds.add(after)
      if (placed?.shelf === agents) touched.agents.add(placed.name)
      if (placed?.shelf === operators) touched.operators.add(placed.name)
      if (placed?.shelf === revocations) touched.revocations.add(placed.name)
    }
    const change = {
      rev,
      everything: false,
      relayIds: [...relayIds],
      agents: [...touched.agents],
      operators: [...touched.operators],
      revocations: [...touched.revocations],
    }
    // Each receipt and each greeting is a revision too; a thousand agents would push the relays out of memory.
    if (relayIds.size > 0) ring.push(change)
    if (ring.length > remembered) ringStart = ring.shift()?.rev ?? ringStart
    advance(change)
  }

  function relayIdAt(key: string): string | undefined {
    return key.startsWith(relays.prefix)
      ? relays.items.get(key.slice(relays.prefix.length))?.value.id
      : undefined
  }

  const stop = new AbortController()
  async function follow(): Promise<void> {
    while (!stop.signal.aborted) {
      try {
        for await (const revision of store.watch('', rev, stop.signal)) apply(revision)
        return
      } catch (thrown) {
        if (!(thrown instanceof StoreError) || thrown.kind !== 'Compacted') throw thrown
        await reload()
      }
    }
  }

  await reload()
  const following = follow()
  const failed = new Promise<never>((_, reject) => following.catch(reject))
  failed.catch(() => {})

  return {
    get rev() {
      return rev
    },
    relays: relays.items,
    relaysById,
    agents: agents.items,
    operators: operators.items,
    tokens: tokens.items,
    seen: seen.items,
    deadKeys: deadKeys.items,
    revocations: revocations.items,
    unanswered: unanswered.of,
    receipt: (revocationId, agent) => receipts.items.get(`${revocationId}/${agent}`)?.value,
    failed,
    caughtUp(wanted) {
      if (wanted <= rev) return Promise.resolve()
      return new Promise(resolve => waiting.add({ rev: wanted, resolve }))
    },
    relayChangesSince(from) {
      if (from < ringStart || from > rev) return undefined
      // Who resumes has missed little: looked for from the newest on.
      return ring.slice(ring.findLastIndex(change => change.rev <= from) + 1)
    },
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    async [Symbol.asyncDispose]() {
      stop.abort()
      for (const wait of waiting) wait.resolve()
      await following.catch(() => {})
    },
  }
}

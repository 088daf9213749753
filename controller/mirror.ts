import type { Logger } from '#telemetry/log.ts'
import { type LabelsKnown, openLabelsKnown } from './labels-known.ts'
import { openPicture, type Picture, type Pictured, type ShelfName } from './picture.ts'
import { type Op, type Rev, type Revision, type Store, StoreError } from './store/store.ts'

export type { Mirrored } from './picture.ts'

/** What one revision touched: the names of rows, and the ids of the relays concerned, before and after. */
export interface MirrorChange {
  readonly rev: Rev
  /** The history had a gap: anything may have changed, and what has gone is not named here. */
  readonly everything: boolean
  readonly relayIds: readonly string[]
  readonly agents: readonly string[]
  readonly operators: readonly string[]
  readonly revocations: readonly string[]
  readonly formerPlacements: readonly string[]
  /** The agents that have other labels now, or have joined anew. */
  readonly relabelled: readonly string[]
}

/**
 * The store's state in memory, kept true by the watch. Services read here and write to the store, so that one
 * controller or several behave alike: what anybody committed arrives by the same way.
 *
 * Read its rows through it each time: after a gap in the history they are others.
 */
export interface Mirror extends Pictured, AsyncDisposable {
  readonly rev: Rev
  /** The revision at which this agent's labels became what they are. */
  labelsSince(agent: string): Rev
  /** The last revision that changed any agent's labels. */
  readonly lastRelabelling: Rev
  /** Resolves once the mirror shows the state of `rev`: a writer waits for it, and then reads its own write. */
  caughtUp(rev: Rev): Promise<void>
  /** The changes of relays after `rev`, or nothing when they are no longer remembered. */
  relayChangesSince(rev: Rev): readonly MirrorChange[] | undefined
  /** Shows these as if they had been written, at the revision that there is; the store does not have them yet. */
  anticipate(ops: readonly Op[]): void
  onChange(listener: (change: MirrorChange) => void): () => void
  /** Rejects when the watch fails for good: the controller must then stop rather than act on an old picture. */
  readonly failed: Promise<never>
}

const remembered = 10_000

export async function openMirror(store: Store, log: Logger): Promise<Mirror> {
  let picture: Picture
  let labels: LabelsKnown
  const ring: MirrorChange[] = []
  const listeners = new Set<(change: MirrorChange) => void>()
  const waiting = new Set<{ rev: Rev; resolve(): void }>()
  let rev: Rev = 0n
  let ringStart: Rev = 0n
  let lastRelabelling: Rev = 0n

  function unreadable(key: string, error: unknown): void {
    log.error({ event: 'store.unreadable', row: key, error }, 'a stored row cannot be read, and is left out')
  }

  /** Into a fresh picture, which takes the place of the old one at once: meanwhile nobody is unknown. */
  async function reload(): Promise<void> {
    const fresh = openPicture(unreadable)
    let after: string | undefined
    let first: Rev | undefined
    for (;;) {
      const page = await store.list('', { after, limit: 5_000 })
      first ??= page.rev
      for (const entry of page.items) fresh.place(entry.key, entry.value, entry.modRev)
      after = page.items.at(-1)?.key
      if (!page.more) break
    }
    picture = fresh
    labels = openLabelsKnown(fresh)
    for (const agent of fresh.agents.keys()) labels.look(agent, first)
    ring.length = 0
    ringStart = first
    lastRelabelling = first
    advance({
      rev: first,
      everything: true,
      relayIds: [...fresh.relaysById.keys()],
      agents: [...fresh.agents.keys()],
      operators: [...fresh.operators.keys()],
      revocations: [...fresh.revocations.keys()],
      formerPlacements: [...fresh.formerPlacements.keys()],
      relabelled: [...fresh.agents.keys()],
    })
  }

  function advance(change: MirrorChange): void {
    rev = change.rev
    for (const wait of waiting) {
      if (wait.rev > rev) continue
      waiting.delete(wait)
      wait.resolve()
    }
    for (const listener of listeners) {
      try {
        listener(change)
      } catch (error) {
        // The others have to hear of it all the same, and the next change may be one that this one can take.
        log.error({ event: 'mirror.listener-failed', rev, error }, 'a change could not be passed on')
      }
    }
  }

  function apply({ rev, events }: Revision): void {
    const relayIds = new Set<string>()
    const touched = new Map<ShelfName, string[]>()
    for (const event of events) {
      const key = 'put' in event ? event.put.key : event.delete.key
      const before = picture.relayIdAt(key)
      const placed =
        'put' in event
          ? picture.place(key, event.put.value, event.put.modRev)
          : picture.place(key, undefined, 0n)
      if (before) relayIds.add(before)
      const after = picture.relayIdAt(key)
      if (after) relayIds.add(after)
      if (placed) touched.set(placed.shelf, [...(touched.get(placed.shelf) ?? []), placed.name])
    }
    const of = (shelf: ShelfName) => touched.get(shelf) ?? []
    const relabelled = [...new Set([...of('agents'), ...of('seen')])].filter(agent => labels.look(agent, rev))
    if (relabelled.length > 0) lastRelabelling = rev
    const change: MirrorChange = {
      rev,
      everything: false,
      relayIds: [...relayIds],
      agents: of('agents'),
      operators: of('operators'),
      revocations: of('revocations'),
      formerPlacements: of('formerPlacements'),
      relabelled,
    }
    // Each receipt and each greeting is a revision too; a thousand agents would push the relays out of memory.
    if (relayIds.size > 0) ring.push(change)
    if (ring.length > remembered) ringStart = ring.shift()?.rev ?? ringStart
    advance(change)
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
    get relays() {
      return picture.relays
    },
    get relaysById() {
      return picture.relaysById
    },
    get agents() {
      return picture.agents
    },
    get operators() {
      return picture.operators
    },
    get tokens() {
      return picture.tokens
    },
    get seen() {
      return picture.seen
    },
    get deadKeys() {
      return picture.deadKeys
    },
    get revocations() {
      return picture.revocations
    },
    get formerPlacements() {
      return picture.formerPlacements
    },
    get formerLabels() {
      return picture.formerLabels
    },
    get applied() {
      return picture.applied
    },
    get lastRelabelling() {
      return lastRelabelling
    },
    labelsSince: agent => labels.since(agent),
    unanswered: agent => picture.unanswered(agent),
    receipt: (revocationId, agent) => picture.receipt(revocationId, agent),
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
    anticipate: ops =>
      apply({
        rev,
        events: ops.map(op => ('put' in op ? { put: { ...op.put, createRev: rev, modRev: rev } } : op)),
      }),
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

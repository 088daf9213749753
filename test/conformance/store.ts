import { setImmediate } from 'node:timers/promises'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Op, Rev, Revision, Store } from '#controller/store/store.ts'
import { checkChain } from '#telemetry/audit/chain.ts'

export interface StoreOptions {
  readonly clock?: () => number
  readonly history?: number
}

const text = (value: string) => new TextEncoder().encode(value)
const put = (key: string, value: string): Op => ({ put: { key, value: text(value) } })
const remove = (key: string): Op => ({ delete: { key } })
const never = new AbortController().signal

/** What every store must do. `open` opens a new and empty one. */
export function storeConformance(name: string, open: (options?: StoreOptions) => Promise<Store>): void {
  describe(`${name} store`, () => {
    describe('transactions', () => {
      it('give a key its create and mod revisions, and begin anew after a deletion', async () => {
        await using store = await open()
        await store.txn([], [put('a', '1')])
        await store.txn([], [put('a', '2')])
        expect(await store.get('a')).toEqual({
          entry: { key: 'a', value: text('2'), createRev: 1n, modRev: 2n },
          rev: 2n,
        })
        await store.txn([], [remove('a')])
        expect(await store.get('a')).toEqual({ rev: 3n })
        await store.txn([], [put('a', '')])
        expect((await store.get('a')).entry).toEqual({ key: 'a', value: text(''), createRev: 4n, modRev: 4n })
      })

      it('let exactly one of 50 parallel compare-and-swaps win', async () => {
        await using store = await open()
        await store.txn([], [put('k', 'start')])
        const { entry } = await store.get('k')
        const swap = (i: number) => store.txn([{ key: 'k', modRev: entry!.modRev }], [put('k', `${i}`)])
        const results = await Promise.all(Array.from({ length: 50 }, (_, i) => swap(i)))
        const won = results.flatMap((result, i) => (result.ok ? [i] : []))
        expect(won).toHaveLength(1)
        const after = (await store.get('k')).entry
        expect(after?.value).toEqual(text(`${won[0]}`))
        for (const result of results)
          if (!result.ok) expect(result.current).toEqual([{ key: 'k', entry: after }])
      })

      it('let exactly one of 50 parallel creations win', async () => {
        await using store = await open()
        const create = (i: number) => store.txn([{ key: 'k', modRev: 0n }], [put('k', `${i}`)])
        const results = await Promise.all(Array.from({ length: 50 }, (_, i) => create(i)))
        expect(results.filter(({ ok }) => ok)).toHaveLength(1)
      })

      it('do all or nothing', async () => {
        await using store = await open()
        await store.txn([], [put('a', '1')])
        const ifs = [
          { key: 'a', modRev: 1n },
          { key: 'gone', modRev: 7n },
        ]
        const refused = await store.txn(ifs, [put('a', '2'), put('b', '2')], {
          audit: [{ at: 1, bytes: text('x') }],
        })
        expect(refused).toEqual({ ok: false, current: [{ key: 'gone' }] })
        expect((await store.list('')).items.map(({ key, modRev }) => [key, modRev])).toEqual([['a', 1n]])
        expect(await store.audit.read(0n, 10)).toEqual([])
        expect(await store.txn([{ key: 'a', modRev: 1n }], [remove('a'), put('b', '2')])).toEqual({
          ok: true,
          rev: 2n,
        })
        expect((await store.list('')).items.map(({ key }) => key)).toEqual(['b'])
      })

      it('raise the revision only when they change something', async () => {
        await using store = await open()
        expect(await store.txn([], [])).toEqual({ ok: true, rev: 0n })
        expect(await store.txn([], [remove('nothing')])).toEqual({ ok: true, rev: 0n })
        expect(await store.txn([], [], { audit: [{ at: 1, bytes: text('x') }] })).toEqual({
          ok: true,
          rev: 0n,
        })
        expect(await store.txn([], [put('a', '1'), put('b', '1')])).toEqual({ ok: true, rev: 1n })
      })

      it('take effect in the order of their calls', async () => {
        await using store = await open()
        const results = await Promise.all(
          Array.from({ length: 20 }, (_, i) => store.txn([], [put('k', `${i}`)])),
        )
        expect(results).toEqual(results.map((_, i) => ({ ok: true, rev: BigInt(i) + 1n })))
        expect((await store.get('k')).entry?.value).toEqual(text('19'))
      })

      it('keep what they were given, not what the caller makes of it later', async () => {
        await using store = await open()
        const value = text('before')
        const written = store.txn([], [{ put: { key: 'k', value } }])
        value.fill(0)
        await written
        ;(await store.get('k')).entry?.value.fill(1)
        expect((await store.get('k')).entry?.value).toEqual(text('before'))
      })

      it.each([
        ['an empty key', [put('', '1')]],
        ['a NUL in a key', [put('a\0b', '1')]],
        ['half a surrogate pair', [put('a\ud800', '1')]],
        ['a key written twice', [put('a', '1'), remove('a')]],
      ])('refuse %s', async (_, ops) => {
        await using store = await open()
        await expect(store.txn([], [put('fine', '1'), ...ops])).rejects.toMatchObject({ code: 'usage' })
        expect(await store.list('')).toEqual({ items: [], rev: 0n, more: false })
      })
    })

    describe('lists', () => {
      it('come in byte order, within the prefix', async () => {
        await using store = await open()
        const keys = [
          'a/',
          'a/b',
          'a/\u{fffd}',
          'a/\u{1f600}',
          'a0',
          'b',
          'a',
          'a/é',
          'a/\u{e000}',
          'a/\u{d7ff}',
          'a/\u{10ffff}x',
        ]
        await store.txn(
          [],
          keys.map(key => put(key, key)),
        )
        const sorted = keys.toSorted((x, y) => Buffer.compare(Buffer.from(x), Buffer.from(y)))
        for (const prefix of ['', 'a/', 'a', 'a/\u{d7ff}', 'a/\u{10ffff}', 'c']) {
          const { items } = await store.list(prefix)
          expect(items.map(({ key }) => key)).toEqual(sorted.filter(key => key.startsWith(prefix)))
        }
      })

      it('page without losing or repeating a key', async () => {
        await using store = await open()
        const keys = Array.from({ length: 25 }, (_, i) => `p/${String(i).padStart(2, '0')}`)
        await store.txn(
          [],
          [...keys, 'o', 'q'].map(key => put(key, key)),
        )
        const pages: string[][] = []
        let after: string | undefined
        for (let more = true; more; ) {
          const page = await store.list('p/', { after, limit: 10 })
          pages.push(page.items.map(({ key }) => key))
          after = page.items.at(-1)?.key
          more = page.more
        }
        expect(pages.map(page => page.length)).toEqual([10, 10, 5])
        expect(pages.flat()).toEqual(keys)
        expect((await store.list('p/', { limit: 25 })).more).toBe(false)
        await expect(store.list('p/', { limit: 0 })).rejects.toMatchObject({ code: 'usage' })
      })
    })

    describe('watches', () => {
      it('deliver the past, then the present, in whole revisions', async () => {
        await using store = await open()
        await store.txn([], [put('w/a', '1'), put('other', '1'), put('w/b', '1')])
        await store.txn([], [put('other', '2')])
        const watch = store.watch('w/', 0n, never)[Symbol.asyncIterator]()
        expect(await watch.next()).toEqual({
          done: false,
          value: {
            rev: 1n,
            events: [
              { put: { key: 'w/a', value: text('1'), createRev: 1n, modRev: 1n } },
              { put: { key: 'w/b', value: text('1'), createRev: 1n, modRev: 1n } },
            ],
          },
        })
        const waiting = watch.next()
        await store.txn([], [put('other', '3')])
        await store.txn([], [remove('w/b'), put('w/a', '2')])
        expect(await waiting).toEqual({
          done: false,
          value: {
            rev: 4n,
            events: [
              { delete: { key: 'w/b' } },
              { put: { key: 'w/a', value: text('2'), createRev: 1n, modRev: 4n } },
            ],
          },
        })
        await watch.return?.()
      })

      it('resume anywhere without a gap while others write', async () => {
        await fc.assert(
          fc.asyncProperty(writers, fc.infiniteStream(fc.nat(4)), async (plans, pauses) => {
            await using store = await open()
            const done = Promise.all(plans.map(plan => write(store, plan)))
            const finish = done.then(() => store.txn([], [put('w/end', '')]))
            const seen: Revision[] = []
            while (!seen.some(ended)) await watchSome(store, seen, pauses.next().value)
            await finish
            expect(seen.map(({ rev }) => rev)).toEqual(expect.arrayContaining((await done).flat()))
            expectReplay(seen, await store.list('w/'))
          }),
          { numRuns: 15 },
        )
      })

      it('end when they are aborted, even before they began', async () => {
        await using store = await open()
        const abort = new AbortController()
        const waiting = store.watch('', 0n, abort.signal)[Symbol.asyncIterator]().next()
        abort.abort()
        expect(await waiting).toEqual({ done: true, value: undefined })
        expect(await Array.fromAsync(store.watch('', 0n, abort.signal))).toEqual([])
      })

      it('end when the store is disposed', async () => {
        const store = await open()
        await store.txn([], [put('a', '1'), put('b', '1')])
        const waiting = store.watch('', 1n, never)[Symbol.asyncIterator]().next()
        const reading = store.watch('', 0n, never)[Symbol.asyncIterator]()
        await reading.next()
        await store[Symbol.asyncDispose]()
        expect(await waiting).toEqual({ done: true, value: undefined })
        expect(await reading.next()).toEqual({ done: true, value: undefined })
      })

      it('throw Compacted when what comes next was discarded, and go on after a new list', async () => {
        await using store = await open()
        for (let i = 1; i <= 10; i++) await store.txn([], [put('k', `${i}`)])
        await store.compact(6n)
        await expect(firstOf(store, 4n)).rejects.toMatchObject({ kind: 'Compacted', code: 'conflict' })
        expect((await firstOf(store, 5n))?.rev).toBe(6n)
        const { items, rev } = await store.list('')
        expect(items.map(({ modRev }) => modRev)).toEqual([10n])
        await store.txn([], [put('k', '11')])
        expect((await firstOf(store, rev))?.rev).toBe(11n)
      })

      it('throw Compacted from a revision that the store has not reached', async () => {
        await using store = await open()
        await expect(firstOf(store, 1n)).rejects.toMatchObject({ kind: 'Compacted' })
      })

      it('never discard the future', async () => {
        await using store = await open()
        await store.txn([], [put('k', '1')])
        await store.compact(99n)
        await store.txn([], [put('k', '2')])
        expect((await firstOf(store, 1n))?.rev).toBe(2n)
      })

      it('that are slow cost the store only its bounded history', async () => {
        await using store = await open({ history: 10 })
        const slow = store.watch('', 0n, never)[Symbol.asyncIterator]()
        await store.txn([], [put('k', '1')])
        expect((await slow.next()).value?.rev).toBe(1n)
        for (let i = 0; i < 30; i++) await store.txn([], [put('k', `${i}`)])
        await expect(slow.next()).rejects.toMatchObject({ kind: 'Compacted' })
        expect((await firstOf(store, 21n))?.rev).toBe(22n)
      })

      it('of a quiet prefix outlive the compaction of a busy one', async () => {
        await using store = await open({ history: 10 })
        const quiet = store.watch('quiet/', 0n, never)[Symbol.asyncIterator]()
        const waiting = quiet.next()
        for (let i = 0; i < 50; i++) await store.txn([], [put('busy', `${i}`)])
        await store.txn([], [put('quiet/a', '1')])
        expect((await waiting).value?.rev).toBe(51n)
        await quiet.return?.()
      })
    })

    describe('sessions', () => {
      it('stay while they are renewed, and are lost when the process stood still', async () => {
        let now = 0
        await using store = await open({ clock: () => now })
        await using session = await store.session(30)
        let lost = false
        session.lost.then(() => {
          lost = true
        })
        for (let beat = 0; beat < 5; beat++) {
          now += 30
          await turnOf(10)
        }
        expect(lost).toBe(false)
        now += 31
        await session.lost
      })

      it('have different names, and end with close or with the store', async () => {
        let now = 0
        await using store = await open({ clock: () => now })
        const [one, two] = [await store.session(3), await store.session(3)]
        expect(one.id).not.toBe(two.id)
        await one.close()
        await one.close()
        let lost = false
        one.lost.then(() => {
          lost = true
        })
        now += 100
        await two.lost
        expect(lost).toBe(false)
        await store.session(60_000)
        await expect(store.session(0)).rejects.toMatchObject({ code: 'usage' })
      })
    })

    describe('audit rows', () => {
      it('are numbered without a gap, whoever appends them', async () => {
        await using store = await open()
        const row = (i: number) => ({ at: 1_000 + i, bytes: text(`${i}`) })
        await Promise.all([
          store.audit.append([row(1), row(2)]),
          store.txn([], [put('a', '1')], { audit: [row(3)] }),
          store.txn([{ key: 'a', modRev: 9n }], [], { audit: [row(99)] }),
          store.txn([], [], { audit: [row(4)] }),
          store.audit.append([]),
        ])
        expect(await store.audit.append([row(5)])).toBe(5n)
        const all = [1, 2, 3, 4, 5].map(i => ({ seq: BigInt(i), ...row(i) }))
        const rows = await store.audit.read(0n, 100)
        expect(rows).toMatchObject(all)
        expect(await store.audit.read(2n, 2)).toEqual(rows.slice(2, 4))
      })

      it('are chained: each holds a hash of itself and of the one before', async () => {
        await using store = await open()
        const row = (i: number) => ({ at: 1_000 + i, bytes: text(`${i}`) })
        const zeros = new Uint8Array(32)
        expect(await store.audit.ends()).toEqual({
          base: { seq: 0n, hash: zeros },
          head: { seq: 0n, hash: zeros },
        })
        await Promise.all(Array.from({ length: 20 }, (_, i) => store.txn([], [], { audit: [row(i)] })))
        const rows = await store.audit.read(0n, 100)
        const check = checkChain(await store.audit.ends())
        for (const each of rows) expect(check.add(each)).toBeUndefined()
        expect(check.end()).toBeUndefined()
        expect(check.last).toEqual({ seq: 20n, hash: rows.at(-1)!.hash })

        await store.audit.trim(8n)
        const { base, head } = await store.audit.ends()
        expect(base).toEqual({ seq: 7n, hash: rows[6]!.hash })
        const trimmed = checkChain({ base, head })
        for (const each of await store.audit.read(0n, 100)) expect(trimmed.add(each)).toBeUndefined()
        expect(trimmed.end()).toBeUndefined()
      })

      it('can be followed: those of the past, then each as it is appended', async () => {
        await using store = await open()
        const row = (i: number) => ({ at: i, bytes: text(`${i}`) })
        await store.audit.append(Array.from({ length: 100 }, (_, i) => row(i)))
        const stop = new AbortController()
        const seen: bigint[] = []
        const following = (async () => {
          for await (const { seq } of store.audit.follow(2n, stop.signal)) {
            seen.push(seq)
            if (seq === 100n) await store.txn([], [put('a', '1')], { audit: [row(100)] })
            if (seq === 101n) await store.audit.append([row(101)])
            if (seq === 102n) stop.abort()
          }
        })()
        await following
        expect(seen).toEqual(Array.from({ length: 100 }, (_, i) => BigInt(i) + 3n))
      })

      it('keep their numbers when the old ones, or all, are trimmed', async () => {
        await using store = await open()
        const rows = ['a', 'b', 'c'].map((name, at) => ({ at, bytes: text(name) }))
        await store.audit.append(rows)
        await store.audit.trim(3n)
        expect((await store.audit.read(0n, 10)).map(({ seq }) => seq)).toEqual([3n])
        await store.audit.trim(99n)
        expect(await store.audit.append(rows.slice(0, 1))).toBe(4n)
        expect((await store.audit.read(0n, 10)).map(({ seq }) => seq)).toEqual([4n])
      })

      it('refuse a time that is no whole number of milliseconds', async () => {
        await using store = await open()
        await expect(store.audit.append([{ at: 0.5, bytes: text('') }])).rejects.toMatchObject({
          code: 'usage',
        })
      })
    })

    describe('disposal', () => {
      it('answers the writes under way, refuses what comes later, and may be repeated', async () => {
        const store = await open()
        const writes = Array.from({ length: 5 }, (_, i) => store.txn([], [put(`k${i}`, '')]))
        await store[Symbol.asyncDispose]()
        expect((await Promise.all(writes)).every(({ ok }) => ok)).toBe(true)
        const later = [
          store.get('k'),
          store.list(''),
          store.txn([], [put('k', '')]),
          store.session(1_000),
          store.compact(1n),
          store.audit.append([]),
          store.audit.read(0n, 1),
          store.audit.trim(1n),
          store.audit.ends(),
        ]
        for (const refused of later) await expect(refused).rejects.toMatchObject({ kind: 'Unavailable' })
        await store[Symbol.asyncDispose]()
      })
    })
  })
}

/** For each writer its transactions; for each of these, keys out of six to put or to delete. */
const writers = fc.array(
  fc.array(fc.uniqueArray(fc.tuple(fc.nat(5), fc.boolean()), { minLength: 1, selector: ([key]) => key }), {
    maxLength: 12,
  }),
  { minLength: 2, maxLength: 4 },
)

/** Answers the revisions that the watch of `w/` must show: a put always does, a deletion only of what was there. */
async function write(store: Store, plan: [number, boolean][][]): Promise<Rev[]> {
  const revs: Rev[] = []
  for (const [i, keys] of plan.entries()) {
    const ops = keys.map(([key, kept]) => {
      const name = key < 4 ? `w/${key}` : `x/${key}`
      return kept ? put(name, `${i}`) : remove(name)
    })
    const { rev } = (await store.txn([], ops)) as { rev: Rev }
    if (keys.some(([key, kept]) => key < 4 && kept)) revs.push(rev)
  }
  return revs
}

/** Reads on from the last revision seen, until `count` more are seen or the last one came. */
async function watchSome(store: Store, seen: Revision[], count: number): Promise<void> {
  let left = count
  if (left === 0) return void (await setImmediate())
  for await (const revision of store.watch('w/', seen.at(-1)?.rev ?? 0n, never)) {
    seen.push(revision)
    left--
    if (left === 0 || ended(revision)) return
  }
}

function ended({ events }: Revision): boolean {
  return events.some(event => 'put' in event && event.put.key === 'w/end')
}

/** What a watcher saw, applied to nothing, gives what is there. */
function expectReplay(seen: readonly Revision[], listed: Awaited<ReturnType<Store['list']>>): void {
  const revs = seen.map(({ rev }) => rev)
  expect(revs).toEqual([...new Set(revs)].sort((a, b) => Number(a - b)))
  const replica = new Map<string, unknown>()
  for (const { events } of seen) {
    for (const event of events) {
      if ('put' in event) replica.set(event.put.key, event.put)
      else expect(replica.delete(event.delete.key)).toBe(true)
    }
  }
  expect([...replica.keys()].sort()).toEqual(listed.items.map(({ key }) => key))
  for (const entry of listed.items) expect(replica.get(entry.key)).toEqual(entry)
}

async function firstOf(store: Store, from: Rev): Promise<Revision | undefined> {
  for await (const revision of store.watch('', from, never)) return revision
  return undefined
}

/** Until timers of `ms` that were set before have fired. */
async function turnOf(ms: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  setTimeout(resolve, ms + 5)
  await promise
}

import { expect, test } from 'vitest'
import { openWatches } from '#controller/watching.ts'

function open() {
  const listeners = new Set<() => void>()
  const watches = openWatches([
    changed => {
      listeners.add(changed)
      return () => listeners.delete(changed)
    },
  ])
  const change = () => {
    for (const listener of listeners) listener()
  }
  return { watches, change, listeners }
}

test('watches of one subject share one look', async () => {
  const { watches, change, listeners } = open()
  let looks = 0
  const look = () => ++looks
  const { signal } = new AbortController()
  const open20 = Array.from({ length: 20 }, () =>
    watches.watch({ caller: 'ann', subject: 'relays', look, signal, pauseMs: 1 }),
  )
  const next = async () => (await Promise.all(open20.map(each => each.next()))).map(({ value }) => value)
  expect(new Set(await next())).toEqual(new Set([1]))
  for (let i = 0; i < 50; i++) change()
  expect(new Set(await next())).toEqual(new Set([2]))
  expect(listeners.size).toBe(1)
  await Promise.all(open20.map(each => each.return(undefined)))
  expect(listeners.size).toBe(0)
})

test('a look that takes long is followed by a long rest', async () => {
  const { watches, change } = open()
  const gone = new AbortController()
  let looks = 0
  const look = () => {
    const began = performance.now()
    while (performance.now() - began < 10) looks += 0
    return ++looks
  }
  const watch = watches.watch({ caller: 'ann', subject: 'relays', look, signal: gone.signal, pauseMs: 1 })
  await watch.next()
  const began = performance.now()
  change()
  await watch.next()
  expect(performance.now() - began).toBeGreaterThan(150)
  gone.abort()
  expect(await watch.next()).toEqual({ done: true, value: undefined })
})

test('one caller has only so many watches, and gets the place of one that ended', async () => {
  const { watches } = open()
  const { signal } = new AbortController()
  const watch = (caller: string, n: number) =>
    watches.watch({ caller, subject: `relays ${n}`, look: () => n, signal })
  const held = Array.from({ length: 32 }, (_, n) => watch('ann', n))
  for (const each of held) await each.next()
  await expect(watch('ann', 32).next()).rejects.toMatchObject({ code: 'exhausted' })
  expect((await watch('bob', 33).next()).value).toBe(33)
  await held[0]!.return(undefined)
  const again = watch('ann', 34)
  expect((await again.next()).value).toBe(34)
  for (const each of [...held, again]) await each.return(undefined)
})

test('what cannot be seen any more ends the watch with the reason', async () => {
  const { watches, change } = open()
  const { signal } = new AbortController()
  let broken = false
  const look = () => {
    if (broken) throw new Error('gone')
    return 1
  }
  const watch = watches.watch({ caller: 'ann', subject: 'revocation', look, signal, pauseMs: 1 })
  expect((await watch.next()).value).toBe(1)
  broken = true
  change()
  await expect(watch.next()).rejects.toThrow('gone')
})

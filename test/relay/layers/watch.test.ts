import { once } from 'node:events'
import { expect, test } from 'vitest'
import type { WatchEvent } from '#relay/layers/watcher.ts'
import { openDatagramSocket } from '#test/resources/datagram-sockets.ts'
import { openTestRelay } from '#test/resources/relays.ts'
import { exchange, openClient } from '#test/resources/servers.ts'
import { send } from '#test/resources/streams.ts'

const mebibyte = 1_048_576

const shown = (event: WatchEvent) =>
  event.is === 'lost'
    ? event
    : [event.connectionId, event.direction, event.from, event.bytes.toString()].join(' ')

async function take(watcher: AsyncIterable<WatchEvent>, count: number) {
  const events: ReturnType<typeof shown>[] = []
  const iterator = watcher[Symbol.asyncIterator]()
  while (events.length < count) {
    const { done, value } = await iterator.next()
    if (done) break
    events.push(shown(value))
  }
  return events
}

test('a watcher sees running connections from the moment it looks, and no longer than it looks', async () => {
  await using relay = await openTestRelay({ targets: ['ECHO'] })
  await using client = await openClient(relay.port)
  const say = async (words: string) => {
    client.write(words)
    const [heard] = await once(client, 'data')
    expect(String(heard)).toBe(words)
  }
  await say('before')
  {
    using watcher = relay.relay.watch()
    await say('during')
    expect(await take(watcher, 2)).toEqual([
      'connection-1 forward 6 during',
      'connection-1 backward 6 during',
    ])
  }
  await say('after')
  using later = relay.relay.watch()
  await say('later')
  expect(await take(later, 1)).toEqual(['connection-1 forward 17 later'])
})

test('each watcher sees all, connections that come later too, or one connection only', async () => {
  await using relay = await openTestRelay({ targets: ['ECHO'] })
  using all = relay.relay.watch()
  using second = relay.relay.watch({ connectionId: 'connection-2' })
  for (const words of ['one', 'two']) await exchange(relay.port, words)
  expect(await take(all, 4)).toEqual([
    'connection-1 forward 0 one',
    'connection-1 backward 0 one',
    'connection-2 forward 0 two',
    'connection-2 backward 0 two',
  ])
  expect(await take(second, 2)).toEqual(['connection-2 forward 0 two', 'connection-2 backward 0 two'])
})

test('datagrams are seen one by one', async () => {
  await using server = await openDatagramSocket()
  const listen = 'UDP4-LISTEN:0,bind=127.0.0.1,fork'
  await using relay = await openTestRelay({ listen, targets: [`UDP4:127.0.0.1:${server.port}`] })
  await using client = await openDatagramSocket()
  using watcher = relay.relay.watch()
  for (const words of ['a', 'b']) await client.send(words, relay.port)
  expect(await take(watcher, 2)).toEqual(['connection-1 forward 0 a', 'connection-1 forward 1 b'])
})

test('bytes that are only lent to the relay are the watcher’s own', async () => {
  await using relay = await openTestRelay({ targets: ['DISCARD'] })
  using watcher = relay.relay.watch({ room: 64 * mebibyte })
  await using client = await openClient(relay.port)
  const sending = send(
    client,
    Array.from({ length: 32 }, (_, n) => Buffer.alloc(mebibyte, n)),
  )
  let seen = 0
  const events = watcher[Symbol.asyncIterator]()
  while (seen < 32 * mebibyte) {
    const { value } = await events.next()
    expect(value).toMatchObject({ is: 'bytes', from: seen })
    for (let at = 0; at < value.bytes.length; at += 1_009) {
      if (value.bytes[at] !== Math.floor((seen + at) / mebibyte)) throw new Error(`byte ${seen + at} differs`)
    }
    seen += value.bytes.length
  }
  await sending
})

test('a slow watcher loses, is told how much, and sees on', async () => {
  await using relay = await openTestRelay({ targets: ['ECHO'] })
  await using client = await openClient(relay.port)
  using watcher = relay.relay.watch({ room: 2_048 })
  const say = async (bytes: Buffer) => {
    const echoed = new Promise<void>(resolve => {
      let left = bytes.length
      const heard = (chunk: Buffer) => {
        left -= chunk.length
        if (left > 0) return
        client.off('data', heard)
        resolve()
      }
      client.on('data', heard)
    })
    await send(client, [bytes])
    await echoed
  }
  await say(Buffer.alloc(3 * mebibyte))
  let seen = 0
  let lost = 0
  const events = watcher[Symbol.asyncIterator]()
  while (seen + lost < 6 * mebibyte) {
    const { value } = await events.next()
    if (value.is === 'lost') lost += value.bytes
    else seen += value.bytes.length
  }
  expect([seen + lost, lost]).toEqual([6 * mebibyte, watcher.lost])
  expect(seen).toBeLessThan(mebibyte)
  await say(Buffer.from('small'))
  expect(await take(watcher, 2)).toEqual([
    `connection-1 forward ${3 * mebibyte} small`,
    `connection-1 backward ${3 * mebibyte} small`,
  ])
})

test('it ends with the relay, and when it is disposed while somebody waits', async () => {
  await using relay = await openTestRelay({ targets: ['ECHO'] })
  using watcher = relay.relay.watch()
  using other = relay.relay.watch()
  const waiting = take(watcher, 1)
  const seen = take(other, 1)
  watcher[Symbol.dispose]()
  expect(await waiting).toEqual([])
  await relay.relay.close()
  expect(await seen).toEqual([])
  using late = relay.relay.watch()
  expect(await take(late, 1)).toEqual([])
})

test('what has passed before its close, or the end of the relay, may still be taken; before its disposal, not', async () => {
  await using relay = await openTestRelay({ targets: ['ECHO'] })
  using closed = relay.relay.watch({ direction: 'forward' })
  using ended = relay.relay.watch({ direction: 'backward', room: 300 })
  using disposed = relay.relay.watch()
  for (const words of ['one', 'two']) await exchange(relay.port, words)
  closed.close()
  disposed[Symbol.dispose]()
  await exchange(relay.port, 'three')
  await relay.relay.close()
  expect(await take(closed, 3)).toEqual(['connection-1 forward 0 one', 'connection-2 forward 0 two'])
  expect(await take(ended, 3)).toEqual(['connection-1 backward 0 one', { is: 'lost', bytes: 8 }])
  expect(await take(disposed, 1)).toEqual([])
})

import { expect, test } from 'vitest'
import { ownEgress } from '#relay/egress.ts'
import type { Channel, OpenContext } from '#relay/endpoint.ts'
import { memoryPair } from '#relay/endpoints/memory-pair.ts'
import { shareDialer } from '#relay/shared.ts'

const cx: OpenContext = { egress: ownEgress, signal: new AbortController().signal }

function open() {
  const [near, far] = memoryPair({ text: 'near' }, { text: 'far' })
  const dialled: Channel[] = []
  const shared = shareDialer({
    async dial() {
      dialled.push(near)
      return near
    },
  })
  return { shared, far, dialled }
}

const next = (channel: Channel) =>
  new Promise<string>(resolve => channel.stream.once('data', chunk => resolve(String(chunk))))

test('one channel is opened for all, and outlives each of them', async () => {
  const { shared, far, dialled } = open()
  await using _ = shared
  await using __ = far
  for (const word of ['one', 'two']) {
    await using view = await shared.dial(cx)
    view.stream.end(word)
    expect(await next(far)).toBe(word)
  }
  expect(dialled).toHaveLength(1)
})

test('what it says goes to whoever reads, and waits while nobody does', async () => {
  const { shared, far } = open()
  await using _ = shared
  await using __ = far
  await shared.open(cx)
  far.stream.write('early')
  await using first = await shared.dial(cx)
  expect(await next(first)).toBe('early')
  await first[Symbol.asyncDispose]()
  far.stream.write('late')
  await using second = await shared.dial(cx)
  expect(await next(second)).toBe('late')
})

test('its end is the end of all, those who come later included', async () => {
  const { shared, far } = open()
  await using _ = shared
  await using __ = far
  await using first = await shared.dial(cx)
  const ended = new Promise<void>(resolve => first.stream.resume().once('end', resolve))
  far.stream.end()
  await ended
  await using second = await shared.dial(cx)
  await new Promise<void>(resolve => second.stream.resume().once('end', resolve))
})

import { expect, test } from 'vitest'
import { openAnswering } from '#tunnel/answer.ts'
import { type Link, openLink } from '#tunnel/link.ts'
import { openRoute } from '#tunnel/route.ts'
import { until } from '../resources/until.ts'
import { grantTo, openIdentities, openJoiner } from './ends.ts'
import { never, opening } from './links.ts'

test('three thousand who want to go at once all find room, in few tunnels', async () => {
  const { a, b } = await openIdentities()
  await using joiner = await openJoiner()
  const links = new Set<Link>()
  await using answering = openAnswering({
    identity: () => b,
    controller: () => joiner.place,
    answered(_, socket) {
      const answer = (channel: Parameters<NonNullable<Parameters<typeof openLink>[1]['answer']>>[0]) =>
        channel.awaited?.granted(channel)
      const link = openLink(socket, { peer: 'agent/a', answer })
      links.add(link)
      void link.over.then(() => links.delete(link))
    },
    failed() {},
    dropped() {},
  })
  let asked = 0
  const route = openRoute({
    what: '@b/MEMORY',
    async ask() {
      asked++
      const grant = grantTo('b')
      answering.expect({ ticket: grant.ticket, peer: { cluster: 'prod', kind: 'agent', name: 'a' } })
      return grant
    },
    identity: () => a,
    controller: () => joiner.place,
  })
  const opened = await Promise.all(Array.from({ length: 3_000 }, () => route.open(opening(), never)))
  expect(asked).toBe(3)
  expect([...links].map(({ streams }) => streams).sort()).toEqual([1_024, 1_024, 952].sort())
  for (const channel of opened) await channel[Symbol.asyncDispose]()
  await route[Symbol.asyncDispose]()
  await until('no tunnel is left', () => links.size === 0)
})

test('a tunnel that is over as soon as it is open is not asked for again and again', async () => {
  const { a, b } = await openIdentities()
  await using joiner = await openJoiner()
  await using answering = openAnswering({
    identity: () => b,
    controller: () => joiner.place,
    answered: (_, socket) => void socket.destroy(),
    failed() {},
    dropped() {},
  })
  let asked = 0
  await using route = openRoute({
    what: '@b/MEMORY',
    async ask() {
      asked++
      const grant = grantTo('b')
      answering.expect({ ticket: grant.ticket, peer: { cluster: 'prod', kind: 'agent', name: 'a' } })
      return grant
    },
    identity: () => a,
    controller: () => joiner.place,
  })
  await expect(route.open(opening(), never)).rejects.toMatchObject({ name: 'RelayError' })
  expect(asked).toBe(1)
})

import { once } from 'node:events'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { beforeAll, describe, expect, test } from 'vitest'
import { createAuthority } from '#identity/ca.ts'
import { type TlsIdentity, tunnelClientOptions } from '#identity/tls.ts'
import type { RelayError } from '#relay/errors.ts'
import { type AnsweringOptions, type Dropped, openAnswering } from '#tunnel/answer.ts'
import { dialTunnel } from '#tunnel/dial.ts'
import { type Link, openLink } from '#tunnel/link.ts'
import { newTicket, serverNameOf } from '#tunnel/ticket.ts'
import { issued } from '../identity/fixtures.ts'
import { receive } from '../resources/streams.ts'
import { until } from '../resources/until.ts'
import { type Fleet, grantTo, openIdentities, openJoiner, plainGuest } from '../tunnel/ends.ts'
import { never, opening } from '../tunnel/links.ts'

const canary = 'the canary that nobody between may see'
let fleet: Fleet
const wrong: Record<string, TlsIdentity> = {}

beforeAll(async () => {
  fleet = await openIdentities()
  const { authority } = fleet
  wrong['another agent'] = await issued(authority, 'agent', 'c')
  wrong['an operator'] = await issued(authority, 'operator', 'b')
  wrong['a controller'] = await issued(authority, 'controller', 'b')
  const other = await createAuthority({ cluster: 'prod' })
  wrong['an agent of the same name under another authority'] = await issued(other, 'agent', 'b')
  const elsewhere = await createAuthority({ cluster: 'test' })
  wrong['an agent of the same name in another cluster'] = await issued(elsewhere, 'agent', 'b')
})

/** The answering end of one host, which keeps what came of it. All that is said in its links comes back. */
function openEnd(identity: TlsIdentity, controller: { host: string; port: number }, withinMs = 5_000) {
  const answered: { link: Link; way: string }[] = []
  const dropped: Dropped[] = []
  const failed: RelayError[] = []
  const options: AnsweringOptions = {
    identity: () => identity,
    controller: () => controller,
    answered(_, socket, way) {
      const link = openLink(socket, {
        peer: 'agent/a',
        answer(channel) {
          channel.awaited?.granted(channel)
          channel.stream.pipe(channel.stream)
        },
      })
      answered.push({ link, way })
    },
    failed: (_, why) => void failed.push(why),
    dropped: cause => void dropped.push(cause),
    withinMs,
  }
  return { answering: openAnswering(options), answered, dropped, failed }
}

const failure = (work: Promise<unknown>) => work.then(() => undefined).catch((thrown: Error) => thrown)

async function gone(socket: TLSSocket): Promise<void> {
  if (socket.closed) return
  socket.resume().destroy()
  await new Promise<void>(resolve => socket.once('close', () => resolve()))
}

test('what goes through the place where the ends meet cannot be read there', async () => {
  await using joiner = await openJoiner()
  const end = openEnd(fleet.b, joiner.place)
  await using answering = end.answering
  const grant = grantTo('b')
  answering.expect({ ticket: grant.ticket, peer: { cluster: 'prod', kind: 'agent', name: 'a' } })
  const dialling = { grant, identity: fleet.a, controller: joiner.place, signal: never }
  const { socket, way } = await dialTunnel(dialling)
  expect(way).toBe('controller')
  await using initiator = openLink(socket, { peer: 'agent/b' })
  const { link } = await until('it is answered', () => end.answered[0])
  await using _link = link
  await using channel = await initiator.open({ ...opening(), source: canary }, never)
  channel.stream.end(canary)
  expect(String(await receive(channel.stream))).toBe(canary)
  expect(joiner.seen().length).toBeGreaterThan(1_000)
  expect(joiner.seen().includes(canary)).toBe(false)
  expect(joiner.seen().includes('192.0.2.1')).toBe(false)
})

describe('when a controller joins the wrong ends', () => {
  for (const who of [
    'another agent',
    'an operator',
    'a controller',
    'an agent of the same name under another authority',
    'an agent of the same name in another cluster',
  ]) {
    test(`the initiator refuses ${who} that answers, and says nothing to it`, async () => {
      await using joiner = await openJoiner()
      const end = openEnd({ ...wrong[who]!, ca: fleet.authority.certificatePem }, joiner.place)
      await using answering = end.answering
      const grant = grantTo('b')
      answering.expect({ ticket: grant.ticket, peer: { cluster: 'prod', kind: 'agent', name: 'a' } })
      const dialling = { grant, identity: fleet.a, controller: joiner.place, signal: never }
      expect(await failure(dialTunnel(dialling))).toMatchObject({ name: 'RelayError' })
      expect(end.answered).toEqual([])
    })

    test(`the answering agent refuses ${who} that comes, and says nothing to it`, async () => {
      await using joiner = await openJoiner()
      const end = openEnd(fleet.b, joiner.place)
      await using answering = end.answering
      const grant = grantTo('b')
      answering.expect({ ticket: grant.ticket, peer: { cluster: 'prod', kind: 'agent', name: 'a' } })
      const identity = { ...wrong[who]!, ca: fleet.authority.certificatePem }
      const came = await dialTunnel({ grant, identity, controller: joiner.place, signal: never }).catch(
        () => undefined,
      )
      const heard: Buffer[] = []
      came?.socket.on('error', () => {}).on('data', (chunk: Buffer) => void heard.push(chunk))
      await until('it is turned away', () => end.dropped.length === 1)
      expect(end.answered).toEqual([])
      expect(heard).toEqual([])
      if (came) await gone(came.socket)
    })
  }
})

describe('at the straight port', () => {
  test('one of fifty who have the ticket at a time gets in, and it is good for nothing more', async () => {
    await using joiner = await openJoiner()
    const end = openEnd(fleet.b, joiner.place)
    await using answering = end.answering
    const place = await answering.listen({ host: '127.0.0.1', port: 0 })
    const grant = grantTo('b', [place])
    answering.expect({ ticket: grant.ticket, peer: { cluster: 'prod', kind: 'agent', name: 'a' } })
    const come = async () => {
      const tls = connectTls({
        ...place,
        servername: serverNameOf(grant.ticket),
        ...tunnelClientOptions(fleet.a, grant.peer),
      })
      tls.on('error', () => {})
      await Promise.race([once(tls, 'secureConnect'), once(tls, 'close')]).catch(() => {})
      return tls
    }
    const came = await Promise.all(Array.from({ length: 50 }, come))
    await until('all are judged', () => end.answered.length + end.dropped.length === 50)
    expect(end.answered).toHaveLength(1)
    expect(end.dropped.filter(cause => cause === 'unknown-ticket')).toHaveLength(49)
    const late = await come()
    await until('it is turned away', () => end.dropped.length === 50)
    await end.answered[0]!.link[Symbol.asyncDispose]()
    for (const socket of [...came, late]) await gone(socket)
  })

  test('TLS 1.2, no certificate, no ticket and a withdrawn one are turned away', async () => {
    await using joiner = await openJoiner()
    const end = openEnd(fleet.b, joiner.place)
    await using answering = end.answering
    const place = await answering.listen({ host: '127.0.0.1', port: 0 })
    const [ticket, withdrawn] = [newTicket(), newTicket()]
    const peer = { cluster: 'prod', kind: 'agent', name: 'a' } as const
    for (const each of [ticket, withdrawn]) answering.expect({ ticket: each, peer })
    answering.withdraw(withdrawn)
    const right = tunnelClientOptions(fleet.a, { kind: 'agent', name: 'b' })
    const { key: _key, cert: _cert, ...nobody } = right
    const tries = [
      { ...right, minVersion: 'TLSv1.2' as const, maxVersion: 'TLSv1.2' as const, ciphers: 'ALL' },
      nobody,
      { ...right, ALPNProtocols: ['h2'] },
      { ...right, servername: 'controller.fleetcat' },
      { ...right, servername: serverNameOf(newTicket()) },
      { ...right, servername: serverNameOf(withdrawn) },
    ]
    for (const [i, options] of tries.entries()) {
      const tls = connectTls({ ...place, servername: serverNameOf(ticket), ...options })
      tls.on('error', () => {})
      await until(`try ${i} is turned away`, () => end.dropped.length === i + 1)
      await gone(tls)
    }
    expect(end.answered).toEqual([])
  })

  test('a thousand guests who say nothing do not keep the right one out', async () => {
    await using joiner = await openJoiner()
    const end = openEnd(fleet.b, joiner.place)
    await using answering = end.answering
    const place = await answering.listen({ host: '127.0.0.1', port: 0 })
    const guests = await Promise.all(Array.from({ length: 1_000 }, () => plainGuest(place.port)))
    await until('there is no room for more', () => end.dropped.length === 1_000 - 256)
    const grant = grantTo('b', [place])
    answering.expect({ ticket: grant.ticket, peer: { cluster: 'prod', kind: 'agent', name: 'a' } })
    const dialling = { grant, identity: fleet.a, controller: joiner.place, signal: never }
    const { socket, way } = await dialTunnel(dialling)
    expect(way).toBe('straight')
    await until('it is answered', () => end.answered.length === 1)
    await using initiator = openLink(socket, { peer: 'agent/b' })
    await using channel = await initiator.open(opening(), never)
    channel.stream.end(canary)
    expect(String(await receive(channel.stream))).toBe(canary)
    await end.answered[0]!.link[Symbol.asyncDispose]()
    for (const guest of guests) guest.destroy()
    await until('all have gone', () => guests.every(({ closed }) => closed))
  })
})

test('an initiator goes through the controller when the straight port is silent, or knows no ticket', async () => {
  await using joiner = await openJoiner()
  const end = openEnd(fleet.b, joiner.place)
  const other = openEnd(fleet.b, joiner.place)
  await using answering = end.answering
  await using elsewhere = other.answering
  const silent = await openJoiner()
  await using _silent = silent
  const ignorant = await elsewhere.listen({ host: '127.0.0.1', port: 0 })
  for (const place of [silent.place, ignorant]) {
    const grant = grantTo('b', [place])
    answering.expect({ ticket: grant.ticket, peer: { cluster: 'prod', kind: 'agent', name: 'a' } })
    const began = performance.now()
    const dialling = { grant, identity: fleet.a, controller: joiner.place, signal: never }
    const { socket, way } = await dialTunnel(dialling)
    expect(way).toBe('controller')
    expect(performance.now() - began).toBeLessThan(1_500)
    const theirs = await until('it is answered', () => end.answered.shift())
    await gone(socket)
    await theirs.link[Symbol.asyncDispose]()
  }
})

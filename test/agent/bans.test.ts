import { connect } from 'node:net'
import { describe, expect, test } from 'vitest'
import { openBans } from '#agent/bans.ts'
import { openEchoServer } from '#test/resources/servers.ts'
import { until } from '#test/resources/until.ts'
import { desired, openHost, permit } from './resources.ts'

const ban = (cidr: string, more: { except?: string[]; relayIds?: string[]; id?: string } = {}) => ({
  revocationId: more.id ?? `v-${cidr}`,
  cidr,
  except: more.except ?? [],
  relayIds: more.relayIds ?? [],
})

describe('a list of bans', () => {
  test('refuses what lies inside, and nothing else', () => {
    const bans = openBans(() => performance.now())
    bans.replace([ban('10.0.0.0/8', { except: ['10.1.0.0/16'] }), ban('2001:db8::/32')])
    expect(bans.refuses('r-1', '10.2.3.4')).toBe(true)
    expect(bans.refuses('r-1', '::ffff:10.2.3.4')).toBe(true)
    expect(bans.refuses('r-1', '10.1.3.4')).toBe(false)
    expect(bans.refuses('r-1', '11.0.0.1')).toBe(false)
    expect(bans.refuses('r-1', '2001:db8::1')).toBe(true)
  })

  test('may be about some relays only', () => {
    const bans = openBans(() => performance.now())
    bans.add(ban('10.0.0.0/8', { relayIds: ['r-1'] }))
    expect(bans.refuses('r-1', '10.0.0.1')).toBe(true)
    expect(bans.refuses('r-2', '10.0.0.1')).toBe(false)
  })

  test('gives way to the next one', () => {
    const bans = openBans(() => performance.now())
    bans.add(ban('10.0.0.0/8'))
    bans.replace([])
    expect(bans.refuses('r-1', '10.0.0.1')).toBe(false)
  })
})

describe('a source that is shut out', () => {
  const order = (id: string, value: ReturnType<typeof ban>) => ({
    revocationId: id,
    target: { $case: 'source' as const, value },
    reason: 'test',
    revision: 1n,
  })

  test('is cut at once, counted in the receipt, refused from then on, and others stay', async () => {
    await using target = await openEchoServer()
    const rules = { permit: permit('TCP-LISTEN:127.0.0.1:*', 'TCP:127.0.0.1:*'), forbid: [] }
    await using host = openHost({ rules })
    await host.reconciler.sync([desired('r-1', { targets: [`TCP4:127.0.0.1:${target.port}`] })])
    const local = host.reconciler.report('r-1')!.local[0]!
    const open = (from: string) => {
      const socket = connect({ host: '127.0.0.1', port: Number(local.split(':')[1]), localAddress: from })
      socket.on('error', () => {})
      return socket
    }
    const [shut, stays] = [open('127.0.0.2'), open('127.0.0.3')]
    await until('both are there', () => host.roster.live.size === 2)

    const receipt = await host.revocations.obey(order('v-1', ban('127.0.0.2')))
    expect(receipt).toMatchObject({ listenersClosed: 0, connectionsCut: 1, problem: undefined })
    await until('it is cut', () => shut.destroyed)
    expect([...host.roster.live.values()].map(({ sourceIp }) => sourceIp)).toEqual(['127.0.0.3'])

    const again = open('127.0.0.2')
    await until('it is refused', () => again.destroyed)
    expect(host.reconciler.report('r-1')!.refusals).toEqual({ 'banned-source': 1n })

    host.revocations.banned([])
    const back = open('127.0.0.2')
    await until('it is let in again', () => host.roster.live.size === 2)
    for (const socket of [stays, back]) socket.destroy()
  })

  test('in an order that makes no sense is a problem in the receipt', async () => {
    await using host = openHost()
    const receipt = await host.revocations.obey(order('v-1', ban('nonsense')))
    expect(receipt.problem).toMatchObject({ code: 'usage' })
  })
})

describe('a ban of our own', () => {
  const own = { relayId: 'r-1', cidr: '192.0.2.7/32', until: 10_000 }

  test('holds at once, for its relay only, until its time is over', () => {
    let now = 0
    const bans = openBans(() => now)
    bans.addOwn(own)
    expect(bans.refuses('r-1', '192.0.2.7')).toBe(true)
    expect(bans.refuses('r-2', '192.0.2.7')).toBe(false)
    expect(bans.refuses('r-1', '192.0.2.8')).toBe(false)
    now = 10_000
    expect(bans.refuses('r-1', '192.0.2.7')).toBe(false)
    expect(bans.own()).toEqual([])
  })

  test('of IPv6 is about the whole network of 64 bits', () => {
    const bans = openBans(() => 0)
    bans.addOwn({ ...own, cidr: '2001:db8:0:1::/64' })
    expect(bans.refuses('r-1', '2001:db8:0:1:a:b:c:d')).toBe(true)
    expect(bans.refuses('r-1', '2001:db8:0:2::1')).toBe(false)
  })

  test('outlives the lists that do not have it yet, and from then on the list decides', () => {
    const bans = openBans(() => 0)
    bans.addOwn(own)
    bans.replace([ban('10.0.0.0/8')])
    expect(bans.refuses('r-1', '192.0.2.7')).toBe(true)
    expect(bans.own()).toEqual([own])
    bans.replace([ban('192.0.2.7/32', { relayIds: ['r-1'] })])
    expect(bans.own()).toEqual([])
    bans.replace([])
    expect(bans.refuses('r-1', '192.0.2.7')).toBe(false)
  })
})

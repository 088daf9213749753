import { expect, test } from 'vitest'
import { openPacer } from '#agent/pacer.ts'
import { Balance, Health, HealthCheck, RelayState } from '#gen/fleetcat/v1/relay.ts'
import { askTimes, openBackend } from '#test/resources/backends.ts'
import { openClient } from '#test/resources/servers.ts'
import { until } from '#test/resources/until.ts'
import { toDuration } from '#wire/duration.ts'
import { desired, openHost } from './resources.ts'

const health = HealthCheck.fromPartial({ interval: toDuration(100), fall: 1 })

const portOf = ({ local }: { local: string[] }) => Number(local[0]!.split(':').at(-1))

test('a report says how each target fares, and its counts follow within seconds', async () => {
  await using a = await openBackend('a')
  await using b = await openBackend('b')
  await b.die()
  await using host = openHost()
  const relay = desired('r-1', { targets: [b.target, a.target] })
  await host.reconciler.sync([relay])
  const report = () => host.reconciler.report('r-1')!
  const fresh = { health: Health.UNSPECIFIED, connections: 0, total: 0n, failures: 0n, problem: undefined }
  expect(report().targets).toMatchObject([
    { ...fresh, address: b.target },
    { ...fresh, address: a.target },
  ])
  expect(await askTimes(portOf(report()), 2)).toEqual(['a', 'a'])
  await until('all is over', () => host.roster.live.size === 0)
  expect(report().targets).toMatchObject([
    { total: 0n, failures: 2n, problem: { code: 'refused' } },
    { total: 2n, failures: 0n, problem: undefined },
  ])
})

test('what health checks find is reported, logged and counted', async () => {
  await using backend = await openBackend('a')
  await using host = openHost()
  await host.reconciler.sync([desired('r-1', { targets: [backend.target], health })])
  const state = () => host.reconciler.report('r-1')!.targets[0]!.health
  await until('it is up', () => state() === Health.UP)
  const told = host.changed.length
  await backend.die()
  await until('it is down', () => state() === Health.DOWN)
  await until('it is told', () => host.changed.length > told)
  expect([...host.reconciler.checked()]).toMatchObject([
    { relay: 'r-1', target: { health: 'down', address: backend.target } },
  ])
  expect(host.kept.lines.filter(({ event }) => String(event).startsWith('target.'))).toMatchObject([
    { event: 'target.up', relay: 'r-1', target: backend.target },
    { event: 'target.down', why: expect.stringContaining('refused') },
  ])
})

test('balance and health of a running relay change without a cut', async () => {
  await using a = await openBackend('a')
  await using b = await openBackend('b')
  await using host = openHost()
  const targets = [a.target, b.target]
  await host.reconciler.sync([desired('r-1', { targets })])
  const port = portOf(host.reconciler.report('r-1')!)
  await using held = await openClient(port)
  expect(await askTimes(port, 2)).toEqual(['a', 'a'])
  const changed = desired('r-1', { targets, generation: 2n, balance: Balance.ROUND_ROBIN, health })
  await host.reconciler.apply([changed], [])
  expect(host.reconciler.report('r-1')).toMatchObject({ generation: 2n, state: RelayState.READY })
  expect(await askTimes(port, 2)).toEqual(['a', 'b'])
  await until('both are up', () =>
    host.reconciler.report('r-1')!.targets.every(({ health }) => health === Health.UP),
  )
  expect(held.destroyed).toBe(false)
  await host.reconciler.apply([desired('r-1', { targets, generation: 3n })], [])
  expect(host.reconciler.report('r-1')!.targets[0]!.health).toBe(Health.UNSPECIFIED)
  expect(held.destroyed).toBe(false)
})

test('a relay whose targets cannot be checked is refused here too', async () => {
  await using host = openHost()
  await host.reconciler.sync([desired('r-1', { targets: ['UDP4:127.0.0.1:9'], health })])
  expect(host.reconciler.report('r-1')).toMatchObject({
    state: RelayState.REJECTED,
    problem: { code: 'usage', why: expect.stringContaining('does not show that a server is there') },
  })
})

test('checks stop with a lease that does not hold, and go on with it', async () => {
  await using backend = await openBackend('a')
  let holds = true
  await using host = openHost({ lease: { holds: () => holds, isBegun: () => true } })
  await host.reconciler.sync([desired('r-1', { targets: [backend.target], health })])
  const target = () => host.reconciler.report('r-1')!.targets[0]!
  await until('it is up', () => target().health === Health.UP)
  holds = false
  await backend.die()
  await using clock = await openBackend('clock')
  await using other = openHost()
  await other.reconciler.sync([desired('r-2', { targets: [clock.target], health })])
  await until('others have been checked', () => clock.met >= 3)
  expect(target().health).toBe(Health.UP)
  holds = true
  await until('it is down', () => target().health === Health.DOWN)
})

test('a pacer tells at once, and gathers what follows', async () => {
  const told: string[] = []
  using pacer = openPacer(id => void told.push(id), 30)
  pacer.soon('a')
  pacer.soon('b')
  expect(told).toEqual(['a', 'b'])
  for (let i = 0; i < 100; i++) pacer.soon('a')
  pacer.forget('b')
  expect(told).toHaveLength(2)
  await until('the rest is told', () => told.length === 3)
  expect(told[2]).toBe('a')
  pacer.soon('b')
  expect(told).toEqual(['a', 'b', 'a', 'b'])
})

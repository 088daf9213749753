import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type AgentOptions, startAgent } from '#agent/main.ts'
import { RelayState } from '#gen/fleetcat/v1/relay.ts'
import { until } from '#test/resources/until.ts'
import { openFleet } from './fleet.ts'
import { desired, keptLog, memory } from './resources.ts'

type Fleet = Awaited<ReturnType<typeof openFleet>>

async function start(fleet: Fleet, more: Partial<AgentOptions> = {}) {
  const kept = keptLog()
  const agent = await startAgent({
    dataDir: fleet.dataDir,
    join: fleet.token(),
    permit: memory,
    log: kept.log,
    ...more,
  })
  return Object.assign(agent, { kept })
}

test('an agent joins, attaches over TLS, applies its first Sync, and leaves with a goodbye', async () => {
  await using fleet = await openFleet()
  await using agent = await start(fleet, { name: 'edge-3', hostLabels: { rack: 'r12' } })
  expect(agent.name).toBe('edge-3')
  const visit = await fleet.visit(1)
  expect(visit.hello.hostLabels).toMatchObject({ os: process.platform, rack: 'r12' })
  visit.welcome()
  visit.sync(1n, [desired('r-1')])
  await agent.ready
  await visit.hears('reports', ({ reports }) => reports[0]?.state === RelayState.READY)
  await agent.close()
  expect(await visit.hears('goodbye')).toEqual({ reason: 'shutting-down' })
  expect(await agent.stopped).toEqual({ why: undefined })
})

test('a restarted agent is a new boot that starts from nothing', async () => {
  await using fleet = await openFleet()
  const boots = []
  for (const count of [1, 2]) {
    await using agent = await start(fleet)
    const visit = await fleet.visit(count)
    visit.welcome()
    visit.sync(7n)
    await agent.ready
    expect(visit.hello.revision).toBe(0n)
    boots.push(visit.hello.bootId)
  }
  expect(new Set(boots).size).toBe(2)
})

test('a fenced agent closes its relays and says why', async () => {
  await using fleet = await openFleet()
  await using agent = await start(fleet)
  const visit = await fleet.visit(1)
  visit.welcome()
  visit.sync(1n, [desired('r-1')])
  await agent.ready
  visit.say({ $case: 'goodbye', value: { reason: 'fenced' } })
  visit.hangUp()
  const { why } = await agent.stopped
  expect(why?.message).toContain('agent edge-1 was fenced')
  expect(agent.kept.has('the agent stops')).toBe(true)
})

test('an agent that ends before it is ready says so to whoever waits', async () => {
  await using fleet = await openFleet()
  await using agent = await start(fleet)
  const visit = await fleet.visit(1)
  visit.say({ $case: 'goodbye', value: { reason: 'removed' } })
  visit.hangUp()
  await expect(agent.ready).rejects.toThrow(/was removed/)
})

describe('reloading', () => {
  test('a narrowed file closes what it no longer permits; a bad one changes nothing', async () => {
    await using fleet = await openFleet()
    const configFile = join(fleet.home, 'agent.yaml')
    await writeFile(configFile, 'permit: ["MEMORY-LISTEN:wide"]')
    await using agent = await start(fleet, { configFile, permit: ['MEMORY:*'] })
    const visit = await fleet.visit(1)
    visit.welcome()
    visit.sync(1n, [desired('r-1', { listen: 'MEMORY-LISTEN:wide,fork' })])
    await agent.ready
    await visit.hears('reports', ({ reports }) => reports[0]?.state === RelayState.READY)
    await writeFile(configFile, 'permits: []')
    await expect(agent.reload()).rejects.toThrow(/agent\.yaml:1: there is no `permits`/)
    const labels = Array.from({ length: 61 }, (_, i) => `  l${i}: "1"\n`).join('')
    await writeFile(configFile, `labels:\n${labels}`)
    await expect(agent.reload()).rejects.toThrow('there are 65, with the 4 that the agent adds')
    expect(visit.heard.some(said => said.$case === 'reports' && said.value.reports[0]?.problem)).toBe(false)
    await writeFile(configFile, '')
    await agent.reload()
    const { reports } = await visit.hears('reports', said => said.reports[0]?.state === RelayState.REJECTED)
    expect(reports[0]!.problem!.fix).toContain('add "MEMORY-LISTEN:wide" under permit:')
    await writeFile(configFile, 'permit: ["MEMORY-LISTEN:wide"]')
    await agent.reload()
    const ready = () =>
      visit.heard.filter(
        said => said.$case === 'reports' && said.value.reports[0]?.state === RelayState.READY,
      )
    await until('it is ready again', () => ready().length >= 2)
  })

  test('changed labels are told to the controller', async () => {
    await using fleet = await openFleet()
    const configFile = join(fleet.home, 'agent.yaml')
    await writeFile(configFile, 'labels: { rack: "1" }')
    await using agent = await start(fleet, { configFile })
    const first = await fleet.visit(1)
    first.welcome()
    first.sync(1n)
    await agent.ready
    await writeFile(configFile, 'labels: { rack: "2" }')
    const reloaded = agent.reload()
    const second = await fleet.visit(2)
    second.welcome({ resumed: true })
    first.say({ $case: 'goodbye', value: { reason: 'handed-over' } })
    first.hangUp()
    await reloaded
    expect([first, second].map(({ hello }) => hello.hostLabels.rack)).toEqual(['1', '2'])
  })
})

describe('renewal', () => {
  const short = { lifetimeMs: 2_000 }

  test('at half of its life the certificate is replaced, and the session moves; no relay is touched', async () => {
    await using fleet = await openFleet(short)
    await using agent = await start(fleet)
    const first = await fleet.visit(1)
    first.welcome()
    first.sync(1n, [desired('r-1')])
    const { reports } = await first.hears('reports', said => said.reports[0]?.state === RelayState.READY)
    const { csrDer } = await first.hears('certificateRequest')
    const certificatePem = await fleet.issue(csrDer, 'edge-1', 3_600_000)
    first.say({ $case: 'certificate', value: { certificatePem, authorityPem: fleet.ca, problem: undefined } })
    const second = await fleet.visit(2)
    second.welcome({ resumed: true })
    first.say({ $case: 'goodbye', value: { reason: 'handed-over' } })
    first.hangUp()
    expect(second.hello).toMatchObject({ bootId: first.hello.bootId, revision: 1n })
    expect((await second.hears('reports')).reports[0]).toMatchObject({ local: reports[0]!.local })
    expect(agent.kept.lines.filter(({ msg }) => msg === 'relay applied')).toHaveLength(1)
    expect(agent.kept.has('certificate renewed')).toBe(true)
  })

  test('that is refused is asked for again', async () => {
    await using fleet = await openFleet(short)
    await using agent = await start(fleet)
    const visit = await fleet.visit(1)
    visit.welcome()
    visit.sync(1n)
    await visit.hears('certificateRequest')
    const problem = { code: 'unavailable', what: 'the authority', why: 'it is being moved', fix: '' }
    visit.say({ $case: 'certificate', value: { certificatePem: '', authorityPem: '', problem } })
    await until(
      'it asks again',
      () => visit.heard.filter(said => said.$case === 'certificateRequest').length >= 2,
    )
    expect(agent.kept.has('certificate not renewed')).toBe(true)
  })
})

test('the metrics are served where they were asked for', async () => {
  await using fleet = await openFleet()
  await using agent = await start(fleet, { metrics: '127.0.0.1:0' })
  const visit = await fleet.visit(1)
  visit.welcome()
  visit.sync(1n, [desired('r-1'), desired('r-2', { listen: 'NONSENSE' })])
  await agent.ready
  const response = await fetch(`http://${agent.metrics}/metrics`, { headers: { connection: 'close' } })
  const text = await response.text()
  expect(text).toContain('fleetcat_relays{state="ready"} 1')
  expect(text).toContain('fleetcat_relays{state="rejected"} 1')
  expect(text).toContain('fleetcat_session_attached 1')
  expect(text).toContain('fleetcat_connections 0')
})

test('a port of the metrics that is taken fails the start, and nothing is left running', async () => {
  await using fleet = await openFleet()
  await expect(start(fleet, { metrics: fleet.address })).rejects.toThrow(/in use/)
  expect(fleet.visits).toHaveLength(0)
})

test('more labels than a controller takes are refused before anything starts', async () => {
  await using fleet = await openFleet()
  const labels = (count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, i) => [`l${i}`, '1']))
  await expect(start(fleet, { hostLabels: labels(61) })).rejects.toMatchObject({ code: 'usage' })
  expect(fleet.enrolled).toEqual([])
  await using agent = await start(fleet, { hostLabels: labels(60) })
  const visit = await fleet.visit(1)
  expect(Object.keys(visit.hello.hostLabels)).toHaveLength(64)
  expect(agent.name).toBe('edge-1')
})

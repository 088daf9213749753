import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Fleet, openFleet } from '../e2e/fleet.ts'
import { launcher, type Outcome, run } from '../resources/program.ts'

let fleet: Fleet
beforeAll(async () => {
  fleet = await openFleet()
  await fleet.startController()
  await fleet.startAgent('edge-1')
  await fleet.startAgent('db-1')
}, 60_000)
afterAll(async () => await fleet[Symbol.asyncDispose]())

const fleetcat = (...args: string[]): Promise<Outcome> =>
  run([launcher, ...args], { env: { FLEETCAT_HOME: join(fleet.folder, 'home') }, input: '' })

const bounds = ['--time', '200ms', '--bytes', '64MiB']

function expectFigures(item: Record<'sent' | 'received' | 'roundTrips', Record<string, number>>): void {
  for (const { bytes, bytesPerSecond } of [item.sent, item.received]) {
    expect(bytes).toBeGreaterThan(0)
    expect(bytesPerSecond).toBeGreaterThan(0)
  }
  // What was written last may be more than was asked for, by what one read brings.
  expect(item.sent.bytes).toBeLessThanOrEqual(64 * 2 ** 20)
  const { count = 0, minMs = 0, medianMs = 0, p99Ms = 0 } = item.roundTrips
  expect(count).toBeGreaterThan(0)
  expect(0 < minMs && minMs <= medianMs && medianMs <= p99Ms).toBe(true)
}

describe('bench', () => {
  test('measures the way between two agents, and leaves no connection behind', async () => {
    const item = await fleet.json(['bench', '@edge-1', '@db-1', ...bounds])
    expect(item).toMatchObject({ kind: 'Bench', from: 'agent/edge-1', to: 'agent/db-1' })
    expectFigures(item)
    await expect.poll(async () => (await fleet.json(['connections'])).items).toEqual([])
  })

  test('measures the way from this host', async () => {
    const item = await fleet.json(['bench', '@db-1', ...bounds])
    expect(item).toMatchObject({ to: 'agent/db-1' })
    expectFigures(item)
  })

  test('says it in words, and nothing but the answer where no terminal is', async () => {
    const { code, stdout, stderr } = await fleetcat('bench', '@edge-1', '@db-1', ...bounds)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^There: +\d+ MB\/s \(.* in \d.* ms\)\nBack: .*\nRound trip: +.* median, .* p99/m)
  })

  test('ends with the bytes that it was given', async () => {
    const { sent } = await fleet.json(['bench', '@edge-1', '@db-1', '--time', '60s', '--bytes', '3MB'])
    expect(sent.bytes).toBe(3_000_000)
  })

  test.each([
    ['a word that is no agent', ['bench', 'db-1'], 2, /names no agent.*@edge-1/s],
    ['an agent that there is not', ['bench', '@db-2'], 4, /no agent called db-2/],
    ['another agent that there is not', ['bench', '@edge-1', '@db-2'], 4, /no agent called db-2/],
    ['a time without a unit', ['bench', '@db-1', '--time', '5'], 2, /Write 5s/],
    ['more time than anybody waits', ['bench', '@db-1', '--time', '1h'], 2, /ten minutes/],
    ['the address by itself', ['pipe', '@edge-1/BENCH:db-1'], 2, /fleetcat bench/],
  ])('refuses %s', async (_, words, code, message) => {
    const outcome = await fleetcat(...words)
    expect(outcome.stderr).toMatch(message)
    expect(outcome).toMatchObject({ code, stdout: '' })
  })
})

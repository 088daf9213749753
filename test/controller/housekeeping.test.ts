import { expect, test } from 'vitest'
import { openCommit } from '#controller/commit.ts'
import { openHousekeeping } from '#controller/housekeeping.ts'
import { openMirror } from '#controller/mirror.ts'
import { openMemoryStore } from '#controller/store/memory.ts'
import { openTables } from '#controller/tables.ts'
import { Receipt, Relay, Revocation } from '#gen/fleetcat/v1/relay.ts'
import { logTo } from '#telemetry/log.ts'
import { revoke } from '#test/resources/drafts.ts'
import { joinAgent, openController } from '#test/resources/fleet.ts'

const day = 86_400_000
const now = Date.now()
const iso = (days: number) => new Date(now + days * day).toISOString()

async function open(stack: AsyncDisposableStack) {
  const store = stack.use(await openMemoryStore())
  const tables = openTables(store)
  const log = logTo({ write: () => {} }, 'controller', 'fatal')
  const mirror = stack.use(await openMirror(store, log))
  const commit = openCommit(store, mirror, log)
  const former = { relayOps: () => [] }
  const housekeeping = stack.use(openHousekeeping({ commit, tables, mirror, former, log }))
  return { tables, mirror, commit, housekeeping }
}

const token = (id: string, expiresAt: string) => ({
  id,
  hash: '',
  kind: 'agent' as const,
  name: '',
  labels: {},
  expiresAt,
  uses: 1,
  used: 0,
  usedBy: [],
  createdBy: 'ann',
  createdAt: iso(-9),
  revoked: false,
})

const revocation = (id: string, days: number, agents: string[]) =>
  Revocation.fromPartial({ id, target: `relay/${id}`, agents, at: new Date(now + days * day) })

test('expired tokens and dead keys go after a day, and no sooner', async () => {
  await using stack = new AsyncDisposableStack()
  const { tables, mirror, commit, housekeeping } = await open(stack)
  const dead = { kind: 'agent' as const, name: 'edge-1', at: iso(-9) }
  await commit(
    [],
    [
      ...[-2, -0.5, 1].map(days => tables.tokens.put(`t${days}`, token(`t${days}`, iso(days)))),
      ...[-2, -0.5, 1].map(days => tables.deadKeys.put(`k${days}`, { ...dead, notAfter: iso(days) })),
      tables.deadKeys.put('k-unknown', dead),
    ],
  )
  await housekeeping.sweep(now)
  expect([...mirror.tokens.keys()]).toEqual(['t-0.5', 't1'])
  expect([...mirror.deadKeys.keys()]).toEqual(['k-0.5', 'k1', 'k-unknown'])
})

test('relays whose time is over go after a week, and no sooner', async () => {
  await using stack = new AsyncDisposableStack()
  const { tables, mirror, commit, housekeeping } = await open(stack)
  const relay = (name: string, days?: number) => {
    const expiredAt = days === undefined ? undefined : new Date(now + days * day)
    return tables.relays.put(name, Relay.fromPartial({ name, id: `r-${name}`, spec: {}, expiredAt }))
  }
  await commit([], [relay('old', -7.1), relay('young', -6.9), relay('running')])
  await housekeeping.sweep(now)
  expect([...mirror.relays.keys()].sort()).toEqual(['running', 'young'])
})

test('old revocations go with their receipts once nobody has to answer them', async () => {
  await using stack = new AsyncDisposableStack()
  const { tables, mirror, commit, housekeeping } = await open(stack)
  const struckOff = { name: 'gone', labels: {}, keys: [], enrolledAt: iso(-200), tokenId: 't' }
  const receipt = (id: string, agent: string) =>
    tables.receipts.put(`${id}/${agent}`, Receipt.fromPartial({ revocationId: id }))
  await commit(
    [],
    [
      tables.agents.put('gone', { ...struckOff, revoked: { at: iso(-99), by: 'ann', reason: '' } }),
      tables.revocations.put('answered', revocation('answered', -91, ['a', 'b'])),
      receipt('answered', 'a'),
      receipt('answered', 'b'),
      tables.revocations.put('pending', revocation('pending', -91, ['a', 'b'])),
      receipt('pending', 'a'),
      tables.revocations.put('of-the-gone', revocation('of-the-gone', -91, ['gone'])),
      tables.revocations.put('young', revocation('young', -89, ['a'])),
      receipt('young', 'a'),
    ],
  )
  await housekeeping.sweep(now)
  expect([...mirror.revocations.keys()].sort()).toEqual(['pending', 'young'])
  expect(mirror.receipt('answered', 'a')).toBeUndefined()
  expect(mirror.receipt('pending', 'a')).toBeDefined()
  expect(mirror.unanswered('b')).toEqual(['pending'])
})

test('of many revocations the newest stay', async () => {
  await using stack = new AsyncDisposableStack()
  const { tables, mirror, commit, housekeeping } = await open(stack)
  const ids = Array.from({ length: 10_500 }, (_, i) => `v${i}`)
  await commit(
    [],
    ids.map((id, i) => tables.revocations.put(id, revocation(id, -i / 1_000, []))),
  )
  await housekeeping.sweep(now)
  expect(mirror.revocations.size).toBe(10_000)
  expect(mirror.revocations.has('v9999')).toBe(true)
  expect(mirror.revocations.has('v10000')).toBe(false)
})

test('a dead key is kept until its certificate has ended', async () => {
  await using controller = await openController()
  await joinAgent(controller, { name: 'edge-1' })
  await revoke(controller, 'agent/edge-1')
  await using stack = new AsyncDisposableStack()
  await controller.running.close()
  const { openSqliteStore } = await import('#controller/store/sqlite.ts')
  const store = stack.use(await openSqliteStore(`${controller.dataDir}/store`))
  const { rows } = await openTables(store).deadKeys.list()
  expect(Date.parse(rows[0]!.value.notAfter!)).toBeGreaterThan(Date.now())
})

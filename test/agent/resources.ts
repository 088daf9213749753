import { pino } from 'pino'
import { openBans } from '#agent/bans.ts'
import { openCeiling } from '#agent/ceiling.ts'
import { openDoorkeeper } from '#agent/doorkeeper.ts'
import { openReconciler } from '#agent/reconciler.ts'
import { openRevocations } from '#agent/revocations.ts'
import { openRoster } from '#agent/roster.ts'
import { rule } from '#agent/rules.ts'
import type { Tombstones } from '#agent/tombstones.ts'
import { Desired } from '#gen/fleetcat/v1/agent.ts'

export const silent = pino({ level: 'silent' })

/** A log that keeps its lines, for tests that ask what was said. */
export function keptLog() {
  const lines: Record<string, unknown>[] = []
  const log = pino({ level: 'debug' }, { write: line => void lines.push(JSON.parse(line)) })
  return { log, lines, has: (text: string) => lines.some(({ msg }) => String(msg).includes(text)) }
}

export const desired = (relayId: string, more: Partial<Desired> = {}): Desired => ({
  ...Desired.fromPartial({}),
  relayId,
  name: relayId,
  generation: 1n,
  listen: 'TCP4-LISTEN:0,bind=127.0.0.1,fork',
  targets: ['MEMORY:nobody'],
  ...more,
})

/** What a host remembers that is never started again. */
export function memoryTombstones(): Tombstones {
  const dead = new Set<string>()
  let seen = { epoch: 0n, revision: 0n }
  return {
    get seen() {
      return seen
    },
    has: id => dead.has(id),
    async bury(id) {
      dead.add(id)
    },
    async advance(next) {
      seen = next
    },
    async [Symbol.asyncDispose]() {},
  }
}

export const memory = ['MEMORY:*', 'MEMORY-LISTEN:*']
export const permit = (...lines: string[]) => lines.map(text => rule(text, 'the test'))
export const forbid = (...lines: string[]) => lines.map(text => rule(text, 'the test', 'forbid'))

/** The host's side without a session: ceiling, roster, revocations and reconciler, wired as in an agent. */
export function openHost({
  rules = { permit: permit(...memory), forbid: [] as ReturnType<typeof permit> },
  lease = { holds: (_leaseMs: number): boolean => true, isBegun: () => true },
  clock = () => performance.now(),
  wall = Date.now,
} = {}) {
  const changed: string[] = []
  const ceiling = openCeiling(rules)
  const bans = openBans(clock)
  const roster = openRoster({ due() {} })
  const kept = keptLog()
  const reconciler = openReconciler({
    agent: 'edge-1',
    ceiling,
    roster,
    isRevoked: id => revocations.has(id),
    remarks: { heard() {} },
    isBanned: bans.refuses,
    unwelcome: (relay, ip, rule) => doorkeeper.turnedAway(relay, ip, rule),
    clock,
    wall,
    lease,
    changed: id => void changed.push(id),
    log: kept.log,
  })
  const revocations = openRevocations({
    relay: reconciler.cutRelay,
    connection: reconciler.cutConnection,
    everything: reconciler.cutEverything,
    peer: async () => ({ listenersClosed: 0, connectionsCut: 0 }),
    banned: reconciler.cutBanned,
    bans,
    tombstones: memoryTombstones(),
    log: kept.log,
  })
  const doorkeeper = openDoorkeeper({
    clock,
    bans,
    banned: () => revocations.sourceBanned(),
    log: kept.log,
  })
  return {
    ceiling,
    bans,
    roster,
    reconciler,
    revocations,
    changed,
    kept,
    async [Symbol.asyncDispose]() {
      await reconciler[Symbol.asyncDispose]()
      roster[Symbol.dispose]()
    },
  }
}

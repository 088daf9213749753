import type { Revocation } from '#gen/fleetcat/v1/relay.ts'
import type { Logger } from '#telemetry/log.ts'
import type { Commit } from './commit.ts'
import type { Former } from './former.ts'
import { holds } from './locks.ts'
import type { Mirror } from './mirror.ts'
import type { Condition, Op } from './store/store.ts'
import type { Tables } from './tables.ts'
import { parseTarget } from './target.ts'

/** Discards what has had its day, so that the store and the mirror do not grow for ever. */
export interface Housekeeping extends AsyncDisposable {
  /** One round, as of this moment. */
  sweep(now: number): Promise<void>
}

interface Parts {
  readonly commit: Commit
  readonly tables: Tables
  readonly mirror: Mirror
  readonly former: Pick<Former, 'relayOps'>
  readonly log: Logger
}

const dayMs = 86_400_000
const everyMs = 3_600_000
/** An expired token is still known for a day: whoever comes late with it should hear why it is refused. */
const tokensStayMs = dayMs
/** A certificate that has ended is refused as such; clocks that differ get a day. */
const deadKeysStayMs = dayMs
/** Of revocations that nobody has to answer any more. */
const revocationsStayMs = 90 * dayMs
/** Of relays whose time is over: until then they are in the list, and can be given more. */
const expiredStayMs = 7 * dayMs
const mostRevocations = 10_000
/** Of those that agents have made by themselves, of which there may be very many. */
const automaticStayMs = dayMs
const opsAtOnce = 500

/** What goes together, and only while the row is as it was when it was looked at. */
interface Removal {
  readonly condition: Condition
  readonly ops: readonly Op[]
}

export function openHousekeeping({ commit, tables, mirror, former, log }: Parts): Housekeeping {
  function* tokens(now: number): Iterable<Removal> {
    for (const [id, { value, modRev }] of mirror.tokens) {
      if (Date.parse(value.expiresAt) < now - tokensStayMs)
        yield { condition: tables.tokens.at(id, modRev), ops: [tables.tokens.delete(id)] }
    }
  }

  function* deadKeys(now: number): Iterable<Removal> {
    for (const [hash, { value, modRev }] of mirror.deadKeys) {
      if (value.notAfter !== undefined && Date.parse(value.notAfter) < now - deadKeysStayMs)
        yield { condition: tables.deadKeys.at(hash, modRev), ops: [tables.deadKeys.delete(hash)] }
    }
  }

  function* expiredRelays(now: number): Iterable<Removal> {
    for (const [name, { value, modRev }] of mirror.relays) {
      if (value.expiredAt && value.expiredAt.getTime() < now - expiredStayMs)
        yield {
          condition: tables.relays.at(name, modRev),
          ops: [tables.relays.delete(name), ...former.relayOps(value.id)],
        }
    }
  }

  /** Nobody has to answer it any more: each agent has, or is struck off itself; or the source is let in again. */
  function isFinal({ id, agents, target }: Revocation): boolean {
    if (parseTarget(target).kind === 'source') return true
    return agents.every(agent => mirror.receipt(id, agent) || mirror.agents.get(agent)?.value.revoked)
  }

  function* revocations(now: number): Iterable<Removal> {
    const final = [...mirror.revocations.values()]
      .filter(({ value }) => isFinal(value) && !holds(value, now))
      .sort((a, b) => (b.value.at?.getTime() ?? 0) - (a.value.at?.getTime() ?? 0))
    for (const [i, { value, modRev }] of final.entries()) {
      const stayMs = value.automatic ? automaticStayMs : revocationsStayMs
      if (i < mostRevocations && (endOf(value)?.getTime() ?? 0) >= now - stayMs) continue
      const { id, agents } = value
      yield {
        condition: tables.revocations.at(id, modRev),
        ops: [
          tables.revocations.delete(id),
          ...agents.map(agent => tables.receipts.delete(`${id}/${agent}`)),
        ],
      }
    }
  }

  /** Of an automatic one its end: before that it has something to shut out. */
  const endOf = ({ automatic, at, lockUntil }: Revocation) => (automatic ? lockUntil : at)

  async function remove(removals: Iterable<Removal>): Promise<number> {
    let [count, conditions, ops]: [number, Condition[], Op[]] = [0, [], []]
    const write = async () => {
      // What changed in between is looked at again in the next round.
      if (ops.length > 0 && (await commit(conditions, ops)) !== undefined) count += conditions.length
      conditions = []
      ops = []
    }
    for (const removal of [...removals]) {
      conditions.push(removal.condition)
      ops.push(...removal.ops)
      if (ops.length >= opsAtOnce) await write()
    }
    await write()
    return count
  }

  async function sweep(now: number): Promise<void> {
    const removed = {
      tokens: await remove(tokens(now)),
      deadKeys: await remove(deadKeys(now)),
      expiredRelays: await remove(expiredRelays(now)),
      revocations: await remove(revocations(now)),
    }
    if (Object.values(removed).some(count => count > 0))
      log.info({ event: 'housekeeping.swept', ...removed }, 'what had had its day was discarded')
  }

  let sweeping = Promise.resolve()
  const round = () => {
    sweeping = sweeping
      .then(() => sweep(Date.now()))
      .catch(error => log.warn({ event: 'housekeeping.failed', error }, 'old rows could not be discarded'))
  }
  const timer = setInterval(round, everyMs)
  round()
  return {
    sweep,
    async [Symbol.asyncDispose]() {
      clearInterval(timer)
      // A mirror that has failed shows no write any more.
      await Promise.race([sweeping, mirror.failed.catch(() => {})])
    },
  }
}

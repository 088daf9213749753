import { hash } from 'node:crypto'
import type { Peer } from '../endpoint.ts'
import type { Target } from './target.ts'

/** How a relay with several targets chooses among them, for each connection. */
export const balances = ['failover', 'round-robin', 'least-connections', 'source-hash'] as const
export type Balance = (typeof balances)[number]

/** The targets in the order in which this client tries them; all of them, however they fare. */
export type Order = (targets: readonly Target[], client: Peer) => readonly Target[]

/**
 * What the balance says holds among targets that are as good as each other. Those that keep clients waiting come after
 * them, and those that are down last: they are tried only when nothing else has opened.
 */
export function orderBy(balance: Balance): Order {
  const order = orders[balance]()
  return (targets, client) => {
    if (targets.length === 1) return targets
    const now = performance.now()
    const down = targets.filter(({ health }) => health === 'down')
    const slow = targets.filter(target => target.health !== 'down' && target.avoidedUntil > now)
    if (down.length + slow.length === 0) return order(targets, client)
    const good = targets.filter(target => target.health !== 'down' && target.avoidedUntil <= now)
    const [best = [], ...rest] = [good, slow, down].filter(({ length }) => length > 0)
    return [...order(best, client), ...rest.flat()]
  }
}

const orders: Record<Balance, () => Order> = {
  failover: () => targets => targets,

  'round-robin': inTurn,

  /** Among equals in turn, or all the clients of a quiet relay would meet the first target. */
  'least-connections': () => {
    const turned = inTurn()
    return (targets, client) => [...turned(targets, client)].sort((a, b) => a.connections - b.connections)
  },

  /**
   * Rendezvous hashing: each client ranks the targets in an order of its own. When a target goes, only those who had
   * it first move, and each to its own second choice; when it comes back, they and nobody else return.
   */
  'source-hash': () => (targets, client) => {
    const who = client.ip ?? client.text
    const ranked = targets.map(target => ({ target, rank: hash('sha1', `${who} ${target.key}`) }))
    return ranked.sort((a, b) => (a.rank < b.rank ? -1 : 1)).map(({ target }) => target)
  },
}

function inTurn(): Order {
  let turn = 0
  return targets => {
    const first = turn++ % targets.length
    return [...targets.slice(first), ...targets.slice(0, first)]
  }
}

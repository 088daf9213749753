import type { Ban, RevokeOrder } from '#gen/fleetcat/v1/agent.ts'
import type { Receipt } from '#gen/fleetcat/v1/relay.ts'
import { RelayError } from '#relay/errors.ts'
import type { Logger } from '#telemetry/log.ts'
import { toDuration } from '#wire/duration.ts'
import { toProblem } from '#wire/problem.ts'
import type { Bans } from './bans.ts'
import type { Tombstones } from './tombstones.ts'

export interface Cut {
  readonly listenersClosed: number
  readonly connectionsCut: number
}

/** It holds all the same, until this process ends; and then until the controller says again what is to run. */
function notKept(thrown: unknown): RelayError {
  const { code, why, fix } = RelayError.from(thrown, 'the memory of this host')
  return new RelayError(code, { what: 'it is not on the disk of this host yet', why, fix })
}

/** What two parts of this host have cut of the same. */
export async function bothCut(...parts: readonly [Promise<Cut>, Promise<Cut>]): Promise<Cut> {
  const [one, other] = await Promise.all(parts)
  return {
    listenersClosed: one.listenersClosed + other.listenersClosed,
    connectionsCut: one.connectionsCut + other.connectionsCut,
  }
}

export const nothingCut: Cut = { listenersClosed: 0, connectionsCut: 0 }

export interface Cutters {
  relay(relayId: string, reason: RelayError): Promise<Cut>
  connection(connectionId: string, reason: RelayError): Promise<Cut>
  everything(reason: RelayError): Promise<Cut>
  /** All tunnels whose other end it is: `operator/ann`. */
  peer(peer: string, reason: RelayError): Promise<Cut>
  /** Those of sources that are shut out. */
  banned(reason: RelayError): Promise<Cut>
  readonly bans: Bans
  readonly tombstones: Pick<Tombstones, 'has' | 'bury'>
  readonly log: Logger
}

export interface Revocations {
  /** Nothing with this id may open on this host again. */
  has(relayId: string): boolean
  /**
   * Marks first, then cuts. Never rejects: the receipt says what went wrong. The same order again gets the same
   * receipt, for the first one may have been lost on the way.
   */
  obey(order: RevokeOrder): Promise<Receipt>
  /** All sources that are shut out as of now; connections of those are cut. Throws a RelayError on a bad network. */
  banned(bans: readonly Ban[]): void
  /** This agent has shut one out by itself: its connections are cut. */
  sourceBanned(): void
}

/** How many receipts are kept for an order that comes again. */
const remembered = 10_000

export function openRevocations(cutters: Cutters): Revocations {
  const { relay, connection, everything, peer, banned, bans, tombstones, log } = cutters
  const receipts = new Map<string, Promise<Receipt>>()
  let struckOff = false

  async function cut({ target }: RevokeOrder, reason: RelayError): Promise<Cut> {
    if (target?.$case === 'relayId') return relay(target.value, reason)
    if (target?.$case === 'connectionId') return connection(target.value, reason)
    if (target?.$case === 'agent') return everything(reason)
    if (target?.$case === 'peer') return peer(target.value, reason)
    if (target?.$case === 'source') {
      bans.add(target.value)
      return banned(reason)
    }
    throw new RelayError('unsupported', {
      what: 'this revocation',
      why: 'the controller names a target that this agent does not know',
      fix: 'Update fleetcat on this host',
    })
  }

  function cutBanned(): void {
    void banned(new RelayError('revoked', { what: 'the connection', why: 'its source is shut out' }))
  }

  async function carryOut(order: RevokeOrder, kept: Promise<void>): Promise<Receipt> {
    const started = performance.now()
    const reason = new RelayError('revoked', { what: 'revoked', why: order.reason })
    const outcome = await cut(order, reason).catch(thrown => RelayError.from(thrown, 'the revocation'))
    const ms = performance.now() - started
    const unkept = await kept.then(() => undefined, notKept)
    const failed = outcome instanceof RelayError ? outcome : undefined
    const { listenersClosed, connectionsCut } = outcome instanceof RelayError ? nothingCut : outcome
    const fields = {
      revocation: order.revocationId,
      target: order.target?.$case === 'source' ? order.target.value.cidr : order.target?.value,
      listenersClosed,
      connectionsCut,
    }
    if (failed) log.error({ event: 'revocation.failed', ...fields, error: failed }, 'revoke order failed')
    else
      log.info(
        { event: 'revocation.done', ...fields, ms: Math.round(ms * 10) / 10, reason: order.reason },
        'revoke order done',
      )
    return {
      revocationId: order.revocationId,
      listenersClosed,
      connectionsCut,
      took: toDuration(ms),
      at: new Date(),
      problem: failed && toProblem(failed),
      warning: unkept && toProblem(unkept),
    }
  }

  return {
    has: relayId => struckOff || tombstones.has(relayId),
    banned(all) {
      bans.replace(all)
      cutBanned()
    },
    sourceBanned: cutBanned,
    obey(order) {
      const isRelay = order.target?.$case === 'relayId'
      const kept = isRelay ? tombstones.bury(String(order.target?.value)) : Promise.resolve()
      kept.catch(() => {})
      if (order.target?.$case === 'agent') struckOff = true
      const known = receipts.get(order.revocationId)
      if (known) return known
      const receipt = carryOut(order, kept)
      receipts.set(order.revocationId, receipt)
      const [oldest] = receipts.keys()
      if (receipts.size > remembered && oldest !== undefined) receipts.delete(oldest)
      return receipt
    },
  }
}

import { randomUUID } from 'node:crypto'
import { type OperatorServiceClient, RevocationView, RevokeRequest } from '#gen/fleetcat/v1/operator.ts'
import { unary } from '#wire/call.ts'
import { toDuration } from '#wire/duration.ts'
import { parseTarget, revocable } from './target.ts'
import { type RevocationItem, revocationItem } from './views/revocation.ts'

/** What is said of all the targets of one command. */
export interface Terms {
  readonly reason?: string
  readonly lockMs?: number
  /** Of sources: only these relays, and not these networks. */
  readonly relays?: readonly string[]
  readonly except?: readonly string[]
}

/** What a controller has done, or would do. */
export interface Given {
  readonly item: RevocationItem
  /** It had been revoked before, on the same terms. */
  readonly unchanged: boolean
  /** Of a dry run: how many live connections it would cut. */
  readonly connections: number
}

/** Answers when the controller has it on disk; a dry run changes nothing. */
export async function giveOrder(
  operator: OperatorServiceClient,
  target: string,
  terms: Terms,
  dryRun: boolean,
): Promise<Given> {
  const isSource = parseTarget(target, revocable).kind === 'source'
  const request = RevokeRequest.fromPartial({
    target,
    reason: terms.reason ?? '',
    requestId: randomUUID(),
    dryRun,
    lock: terms.lockMs === undefined ? undefined : toDuration(terms.lockMs),
    relays: isSource ? [...(terms.relays ?? [])] : [],
    except: isSource ? [...(terms.except ?? [])] : [],
  })
  const answer = await unary(operator, operator.revoke, request, { what: `revoke ${target}` })
  const item = revocationItem(answer.revocation ?? RevocationView.fromPartial({}))
  return { item, unchanged: answer.unchanged, connections: answer.connections }
}

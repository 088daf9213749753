import type { Piece } from '#relay/copy/frames.ts'
import { type Done, joinCopy, type Side } from '#relay/copy/join.ts'
import type { Answer, Listed, Refused } from '#relay/copy/messages.ts'
import { ownEgress } from '#relay/egress.ts'
import type { Channel } from '#relay/endpoint.ts'
import { bindAddress } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'
import type { CopyPlan, CopySide } from './copy-sides.ts'

/** Opens an address on another host. Rejects with a RelayError. */
export type OpenFar = (address: string, signal: AbortSignal) => Promise<Channel>

/** How far a copy is. */
export interface CopyProgress {
  /** Bytes of files. */
  readonly total: number
  /** Of them, as far as can be told while they pass. */
  readonly done: number
  /** What passed through here. */
  readonly moved: number
}

export interface CopyOutcome {
  readonly done: Done
  readonly refused: readonly Refused[]
  /** Of a dry run, or where what is there was asked for: all entries, and what the target has of them. */
  readonly entries: readonly (Listed & Pick<Answer, 'is' | 'why'>)[]
  readonly ms: number
}

export interface RunCopy {
  readonly open: OpenFar
  readonly signal: AbortSignal
  readonly progress?: (progress: CopyProgress) => void
}

/**
 * Opens both sides and joins them. Rejects with the RelayError of the side that failed; by then that side has cleaned up
 * what it can reach.
 */
export async function runCopy(plan: CopyPlan, { open, signal, progress }: RunCopy): Promise<CopyOutcome> {
  const begun = performance.now()
  await using sender = await openSide(plan.source, plan.sending, open, signal)
  await using receiver = await openSide(plan.target, plan.receiving, open, signal)
  const seen = observer(progress)
  try {
    const done = await joinCopy(sender, receiver, { signal, heard: seen.heard })
    return { done, refused: seen.refused, entries: seen.entries(), ms: Math.round(performance.now() - begun) }
  } catch (thrown) {
    const error = RelayError.from(thrown, 'the copy')
    const failed = seen.failed()
    throw failed === undefined ? error : at(failed === 'sender' ? plan.source : plan.target, error)
  }
}

async function openSide(
  side: CopySide,
  address: string,
  open: OpenFar,
  signal: AbortSignal,
): Promise<Channel> {
  if (side.agent !== undefined) return await open(address, signal)
  return await bindAddress(address).dialer!.dial({ signal, egress: ownEgress })
}

function at({ agent }: CopySide, { code, what, why, fix, cause }: RelayError): RelayError {
  return new RelayError(code, { what: agent === undefined ? what : `@${agent}: ${what}`, why, fix, cause })
}

/** Around the content of each entry, about as much as a header takes. */
const aroundEntry = 2_048

function observer(progress: RunCopy['progress']) {
  const refused: Refused[] = []
  const listed: Listed[] = []
  const answers: Answer[] = []
  let total = 0
  let around = 0
  let moved = 0
  let kept = 0
  let failed: Side | undefined

  function heard(side: Side, piece: Piece): void {
    if ('data' in piece) moved += piece.data.length
    else {
      const { message } = piece
      switch (message.is) {
        case 'plan':
          total = message.bytes
          around = message.entries * aroundEntry
          break
        case 'list':
          for (const entry of message.entries) listed.push(entry)
          break
        case 'answers':
          for (const answer of message.answers) answers.push(answer)
          break
        case 'sums':
          for (const { from } of message.files) kept += from
          break
        case 'refused':
          for (const entry of message.entries) refused.push(entry)
          break
        case 'failed':
          failed ??= side
          break
        default:
          break
      }
    }
    const share = Math.min(1, (moved + kept) / (total + around || 1))
    progress?.({ total, done: Math.floor(share * total), moved })
  }

  return {
    heard,
    refused,
    entries: () =>
      listed.map((entry, i) => ({ ...entry, is: answers[i]?.is ?? 'new', why: answers[i]?.why ?? '' })),
    failed: () => failed,
  }
}

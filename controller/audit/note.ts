import { encodeRecord, type Outcome } from '#telemetry/audit/record.ts'
import type { Logger } from '#telemetry/log.ts'
import { type Actor, actorFields } from '../actor.ts'
import type { AuditDraft } from '../store/store.ts'

/** Something that happened, as the audit log and the log of this process both tell it. */
export interface Note {
  readonly by: Actor
  /** `relay.created`, `revoked`, `agent.attached`, … */
  readonly event: string
  /** What it is about: `relay/web`, `agent/edge-1`. */
  readonly target?: string
  /** `done` if nothing is said. */
  readonly outcome?: Outcome
  /** In the words of who asked. */
  readonly reason?: string | undefined
  readonly fields?: object
  readonly words: string
}

export function rowOf({
  by,
  event,
  target = '',
  outcome = 'done',
  reason = '',
  fields,
  words,
}: Note): AuditDraft {
  const { by: who, from = '' } = actorFields(by)
  const bytes = encodeRecord({ event, outcome, by: who, from, target, reason, words, details: { ...fields } })
  return { at: Date.now(), bytes }
}

export function say(log: Logger, { by, event, outcome = 'done', reason, fields, words }: Note): void {
  const line = { event, ...actorFields(by), ...(reason !== undefined && { reason }), ...fields }
  if (outcome === 'done') log.info(line, words)
  else log.warn(line, words)
}

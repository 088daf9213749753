import type { Logger } from '#telemetry/log.ts'

/** On whose word something is changed, and from where the word came. */
export interface Actor {
  readonly kind: 'agent' | 'operator' | 'local'
  readonly name: string
  /** `10.0.0.7:4000`; empty when the controller's own process asks. */
  readonly peer: string
}

/** The user who started this process. */
export const localActor: Actor = { kind: 'local', name: 'local', peer: '' }

/** Who and from where, as every log line of a change says it. */
export function actorFields({ kind, name, peer }: Actor): { by: string; from?: string } {
  return { by: kind === 'local' ? kind : `${kind}/${name}`, ...(peer && { from: peer }) }
}

/** One log line for each change that somebody asked for, when it is on disk. */
export type Journal = (actor: Actor, event: string, fields: object, message: string) => void

export function openJournal(log: Logger): Journal {
  return (actor, event, fields, message) => log.info({ event, ...actorFields(actor), ...fields }, message)
}

/** On whose word something is changed, and from where the word came. */
export interface Actor {
  /** `controller`: it does by itself what is due. `stranger`: who has no certificate, and whose name is not known. */
  readonly kind: 'agent' | 'operator' | 'local' | 'stranger' | 'controller'
  readonly name: string
  /** `10.0.0.7:4000`; empty when the controller's own process asks. */
  readonly peer: string
}

/** The user who started this process. */
export const localActor: Actor = { kind: 'local', name: 'local', peer: '' }

/** Nobody asks, but the time has come. */
export const controllerActor: Actor = { kind: 'controller', name: '', peer: '' }

export const strangerAt = (peer: string): Actor => ({ kind: 'stranger', name: '', peer })

/** Who it was, as lists show it. What an agent does without being asked is not an operator's of the same name. */
export function signatureOf({ kind, name }: Actor): string {
  return kind === 'agent' ? `agent/${name} (automatic)` : name
}

/** Who and from where, as every log line of a change says it. */
export function actorFields({ kind, name, peer }: Actor): { by: string; from?: string } {
  const isNamed = kind === 'agent' || kind === 'operator'
  return { by: isNamed ? `${kind}/${name}` : kind, ...(peer && { from: peer }) }
}

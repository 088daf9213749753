import { nearest } from '#relay/nearest.ts'
import { usage } from './failure.ts'

/** What a thing of the fleet is called on the command line, and what stands behind the slash. */
const kinds = {
  relay: 'NAME',
  conn: 'ID',
  source: 'CIDR',
  agent: 'NAME',
  operator: 'NAME',
  revocation: 'ID',
} as const
export type TargetKind = keyof typeof kinds

/** What can be revoked. */
export const revocable = ['relay', 'conn', 'source', 'agent', 'operator'] as const

export interface Target<K extends TargetKind = TargetKind> {
  readonly kind: K
  readonly id: string
  readonly text: string
}

/** Reads `relay/web`. Throws a RelayError `usage` that names what may stand there. */
export function parseTarget<K extends TargetKind>(text: string, allowed: readonly K[]): Target<K> {
  const at = text.indexOf('/')
  const given = at < 0 ? undefined : text.slice(0, at)
  const kind = allowed.find(name => name === given)
  const id = text.slice(at + 1)
  if (kind && id) return { kind, id, text }
  const forms = allowed.map(name => `${name}/${kinds[name]}`).join(', ')
  if (given === undefined) {
    throw usage(
      `\`${text}\``,
      'it does not say what kind of thing it names',
      text ? `Write ${allowed[0]}/${text}, or one of ${forms}` : `Write one of ${forms}`,
    )
  }
  const near = nearest(given, allowed)
  throw usage(
    `\`${text}\``,
    kind ? 'there is nothing behind the slash' : `\`${given}/\` is not what this command takes`,
    near && !kind ? `Did you mean ${near}/${id}? It takes ${forms}` : `It takes ${forms}`,
  )
}

import { RelayError } from '#relay/errors.ts'
import { parseCidr } from '#relay/ip.ts'
import { nearest } from '#relay/nearest.ts'

const kinds = ['relay', 'conn', 'source', 'agent', 'operator'] as const
export type TargetKind = (typeof kinds)[number]

/** What a revocation names: `relay/web`, `conn/c-…`, `source/10.0.0.0/8`, `agent/edge-1`, `operator/ann`. Throws a RelayError `usage`. */
export function parseTarget(target: string): { kind: TargetKind; name: string } {
  const at = target.indexOf('/')
  const kind = kinds.find(each => each === target.slice(0, at))
  const name = target.slice(at + 1)
  if (at < 1 || !kind || name === '') {
    const near = nearest(target.slice(0, at), kinds)
    throw new RelayError('usage', {
      what: `target \`${target}\``,
      why: 'it is not of the form relay/NAME, conn/ID, source/CIDR, agent/NAME or operator/NAME',
      fix:
        at > 0 && near
          ? `Did you mean \`${near}/${name}\`?`
          : `For a relay write relay/${at < 0 ? target : 'NAME'}`,
    })
  }
  return { kind, name }
}

/** The one spelling of a target, so that the same network is the same target. Throws a RelayError `usage`. */
export function canonicalTarget(target: string): string {
  const { kind, name } = parseTarget(target)
  return kind === 'source' ? `source/${parseCidr(name).text}` : target
}

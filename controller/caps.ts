import type { RelaySpec } from '#gen/fleetcat/v1/relay.ts'
import { parseTarget } from '#relay/address.ts'
import { kindOf, kinds } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'
import { nearest } from '#relay/nearest.ts'
import { limitMs } from '#wire/duration.ts'
import { leaseMs } from '#wire/lease.ts'
import type { ControllerConfig } from './config.ts'

/**
 * What the owner of the controller lets no relay have, whoever asks for it. Relays that are there already stay; they meet
 * it when they are applied the next time. Throws a RelayError `denied` that says what to write.
 */
export type Caps = (what: string, spec: RelaySpec) => void

/** Throws a RelayError `usage` when the policy names a kind that there is not. */
export function openCaps(policy: ControllerConfig['policy']): Caps {
  const { 'max-ttl': maxTtl, 'max-lease': maxLease, 'require-ttl': required } = policy
  const limitedKinds = typeof required === 'boolean' ? [] : required.map(keywordOf)
  const deny = (what: string, why: string, fix: string) =>
    new RelayError('denied', { what, why: `the policy of this controller ${why}`, fix })

  return (what, spec) => {
    const ttl = limitMs(spec.ttl)
    const write = `Write \`--ttl ${text(maxTtl ?? 7_200_000)}\`${maxTtl === undefined ? '' : ' or less'}, or in a file \`ttl:\``
    if (ttl === undefined) {
      if (required === true) throw deny(what, 'lets no relay run for ever', write)
      const limited = kindsOf(spec).find(keyword => limitedKinds.some(each => covers(each, keyword)))
      if (limited) throw deny(what, `lets no relay with ${limited} run for ever`, write)
    } else if (maxTtl !== undefined && ttl > maxTtl)
      throw deny(what, `lets relays run for ${text(maxTtl)} at most, and it asks for ${text(ttl)}`, write)
    const lease = leaseMs(spec)
    if (maxLease !== undefined && lease > maxLease) {
      const why = `lets leases last for ${text(maxLease)} at most, and it has one of ${text(lease)}`
      throw deny(what, why, `Write \`--lease ${text(maxLease)}\` or less, or in a file \`lease:\``)
    }
  }
}

function keywordOf(word: string): string {
  const kind = kindOf(word)
  if (kind) return kind.keyword
  const near = nearest(
    word.toUpperCase(),
    kinds.map(({ keyword }) => keyword),
  )
  throw new RelayError('usage', {
    what: 'configuration policy.require-ttl',
    why: `there is no kind of address \`${word}\``,
    fix: near ? `Did you mean \`${near}\`?` : '`fleetcat addresses` lists them',
  })
}

/** `TCP` stands for `TCP4` too, as in a ceiling. */
const covers = (word: string, keyword: string) =>
  word === keyword || (kindOf(keyword)?.covers?.includes(word) ?? false)

function kindsOf({ listen, targets, tee }: RelaySpec): string[] {
  const halves = [listen, ...targets, ...tee].map(parseTarget).flatMap(({ read, write }) => [read, write])
  return halves.map(({ keyword }) => kindOf(keyword)?.keyword ?? keyword)
}

const units = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1_000, ms: 1 }

/** In the largest unit that makes it a whole number, so that it can be written as it is read. */
function text(ms: number): string {
  const [unit, length] = Object.entries(units).find(([, each]) => ms % each === 0) ?? ['ms', 1]
  return `${Math.round(ms / length)}${unit}`
}

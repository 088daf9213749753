import type { RelayDraft } from '#gen/fleetcat/v1/operator.ts'
import { parseCidr } from '#relay/ip.ts'
import { toDuration } from '#wire/duration.ts'
import { checkFlow } from '#wire/flow.ts'
import { checkLabel } from '#wire/labels.ts'
import { longestLeaseMs, shortestLeaseMs } from '#wire/lease.ts'
import { checkSharing } from '#wire/sharing.ts'
import { parseWindows } from '#wire/window.ts'
import { parseDuration } from './duration.ts'
import { usage } from './failure.ts'
import { banRule } from './views/ban-rule.ts'
import { toFlow } from './views/flow.ts'
import type { LimitsItem, SpecItem } from './views/relay.ts'
import { toSharing } from './views/sharing.ts'

/** A relay as a person describes it, on the command line or in a file. */
export interface Description {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly reason: string
  readonly spec: SpecItem
}

const relayName = /^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/

/** Throws a RelayError `usage` when a controller would not take the name. */
export function checkRelayName(name: string): void {
  if (relayName.test(name)) return
  throw usage(
    `relay name \`${name}\``,
    'a name has 1 to 63 small letters, digits, `-` or `.`, and begins and ends with a letter or digit',
  )
}

/** Checks what can be checked without the fleet, so that a slip is answered at once. Throws a RelayError. */
export async function toDraft({ name, labels, reason, spec }: Description): Promise<RelayDraft> {
  checkRelayName(name)
  const { bindAll, checkProvesSources } = await import('#relay/endpoints/index.ts')
  if (spec.agents.length > 0 && spec.selector) {
    throw usage(
      `relay/${name}`,
      'it names agents and a selector',
      'Keep one: agents by name, or a selector that finds them',
    )
  }
  bindAll(spec)
  if (spec.limits.banAfter !== undefined) checkProvesSources(spec.listen)
  const sharing = toSharing(spec)
  checkSharing(`relay/${name}`, sharing)
  const flow = toFlow(spec)
  checkFlow(`relay/${name}`, flow)
  for (const [label, value] of Object.entries(labels)) checkLabel(label, value, { host: true })
  return {
    name,
    labels: { ...labels },
    reason,
    spec: {
      listen: spec.listen,
      targets: [...spec.targets],
      agents: [...spec.agents],
      selector: spec.selector,
      limits: limits(spec.limits),
      ...sharing,
      ...flow,
      lease: spec.lease === undefined ? undefined : toDuration(parseLease(spec.lease)),
      windows: windows(spec.windows),
      ttl: spec.ttl === undefined ? undefined : toDuration(parseTtl(spec.ttl)),
    },
  }
}

/** Throws a RelayError `usage` when no agent would take it. */
export function parseLease(text: string): number {
  const ms = parseDuration(text, 'lease')
  if (ms >= shortestLeaseMs && ms <= longestLeaseMs) return ms
  throw usage(`lease ${text}`, 'a lease lasts between 5 seconds and 24 hours', 'Write for example 60s')
}

/** Throws a RelayError `usage` when no controller would take it. */
export function parseTtl(text: string): number {
  const ms = parseDuration(text, 'ttl')
  if (ms >= 1_000) return ms
  throw usage(`ttl ${text}`, 'a relay runs for one second at least', 'Write for example 2h')
}

function windows(texts: readonly string[] = []): string[] {
  parseWindows(texts)
  return [...texts]
}

function limits(given: LimitsItem) {
  const { allowFrom = [], denyFrom = [], maxConnections = 0, ratePerSecond = 0, banAfter, banFor } = given
  for (const network of [...allowFrom, ...denyFrom]) parseCidr(network)
  const duration = (text: string | undefined, what: string) =>
    text === undefined ? undefined : toDuration(parseDuration(text, what))
  return {
    allowFrom: [...allowFrom],
    denyFrom: [...denyFrom],
    maxConnections,
    ratePerSecond,
    idleTimeout: duration(given.idleTimeout, 'idle timeout'),
    maxConnectionAge: duration(given.maxConnectionAge, 'connection age'),
    ban: banAfter === undefined ? undefined : banRule(banAfter, banFor),
  }
}

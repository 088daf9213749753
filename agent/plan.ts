import type { Desired } from '#gen/fleetcat/v1/agent.ts'
import type { RelayLimits as LimitsMessage } from '#gen/fleetcat/v1/relay.ts'
import type { Endpoint } from '#relay/endpoint.ts'
import { bindListen, bindTarget } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'
import type { RelayLimits, RelayPlan } from '#relay/relay.ts'
import { limitMs } from '#wire/duration.ts'

/** What an order asks for, in the engine's words. Throws a RelayError when an address or a limit is wrong. */
export function toPlan({ relayId, name, listen, targets, limits }: Desired): RelayPlan {
  if (targets.length === 0)
    throw new RelayError('usage', {
      what: `relay/${name}`,
      why: 'it has no target',
      fix: 'Name at least one',
    })
  return {
    id: relayId,
    name,
    listen: bindListen(listen),
    targets: targets.map(bindBothWays),
    limits: toLimits(limits),
  }
}

/** Do both ask for the same addresses? Limits can change under a running relay, addresses cannot. */
export function sameAddresses(a: Desired, b: Desired): boolean {
  return a.name === b.name && a.listen === b.listen && same(a.targets, b.targets)
}

export function toLimits(limits: LimitsMessage | undefined): RelayLimits {
  if (!limits) return {}
  return {
    ...given('maxConnections', limits.maxConnections || undefined),
    ...given('ratePerSecond', limits.ratePerSecond || undefined),
    ...given('idleTimeoutMs', limitMs(limits.idleTimeout)),
    ...given('maxConnectionAgeMs', limitMs(limits.maxConnectionAge)),
    ...given('allowFrom', limits.allowFrom.length > 0 ? limits.allowFrom : undefined),
    ...given('denyFrom', limits.denyFrom.length > 0 ? limits.denyFrom : undefined),
  }
}

function bindBothWays(text: string): Endpoint {
  const { read, write } = bindTarget(text)
  if (read === write) return read
  throw new RelayError('unsupported', {
    what: `address \`${text}\``,
    why: 'a relay cannot read from one address and write to another yet',
    fix: 'Write one address without `!!`',
  })
}

const given = <K extends string, V>(key: K, value: V | undefined) =>
  value === undefined ? {} : ({ [key]: value } as Record<K, V>)

const same = (a: readonly string[], b: readonly string[]) =>
  a.length === b.length && a.every((text, i) => text === b[i])

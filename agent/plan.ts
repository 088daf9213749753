import { Desired } from '#gen/fleetcat/v1/agent.ts'
import type { RelayLimits as LimitsMessage } from '#gen/fleetcat/v1/relay.ts'
import { bindListen, bindTarget, checkCheckable } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'
import type { RelayLimits, RelayPlan } from '#relay/relay.ts'
import { limitMs } from '#wire/duration.ts'
import { parseWindows } from '#wire/window.ts'
import { toFlow } from './flow.ts'
import { toSharing } from './sharing.ts'

/** What an order asks for, in the engine's words. Throws a RelayError when an address or a limit is wrong. */
export function toPlan(desired: Desired): RelayPlan {
  const { relayId, name, listen, targets, limits } = desired
  if (targets.length === 0)
    throw new RelayError('usage', {
      what: `relay/${name}`,
      why: 'it has no target',
      fix: 'Name at least one',
    })
  parseWindows(desired.windows)
  if (desired.health) for (const target of targets) checkCheckable(target)
  return {
    id: relayId,
    name,
    listen: bindListen(listen),
    targets: targets.map(bindTarget),
    limits: toLimits(limits),
    ...toSharing(`relay/${name}`, desired),
    ...given('flow', toFlow(desired, bindTarget)),
  }
}

/** Do both ask for the same but for what can change under a running relay: its limits, its times, how its targets share? */
export function sameButLimits(a: Desired, b: Desired): boolean {
  return withoutLimits(a).equals(withoutLimits(b))
}

/** Equal when the rest is: the encoding of one message by one build is always the same. */
function withoutLimits(desired: Desired): Buffer {
  const times = { lease: undefined, expiresIn: undefined, windows: [] }
  const live = { ...times, limits: undefined, balance: 0 as const, health: undefined }
  const rest = { ...desired, ...live, generation: 0n }
  return Buffer.from(Desired.encode(rest).finish())
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

const given = <K extends string, V>(key: K, value: V | undefined) =>
  (value === undefined ? {} : { [key]: value }) as Partial<Record<K, V>>

import { Balance, type HealthCheck, type RelaySpec } from '#gen/fleetcat/v1/relay.ts'
import { limitMs, toDuration } from '#wire/duration.ts'
import type { Sharing } from '#wire/sharing.ts'
import { formatDuration, parseDuration } from '../duration.ts'
import { usage } from '../failure.ts'

export const balances = ['failover', 'round-robin', 'least-connections', 'source-hash'] as const

/** How a relay's targets share its connections; only what is set. Durations are text, as files and options take them. */
export interface SharingItem {
  readonly balance?: (typeof balances)[number]
  readonly health?: HealthItem
}

export interface HealthItem {
  /** `connect`, or `http:` and a path. */
  readonly check: string
  readonly interval?: string
  readonly timeout?: string
  readonly rise?: number
  readonly fall?: number
}

const balanceOf: Record<(typeof balances)[number], Balance> = {
  failover: Balance.UNSPECIFIED,
  'round-robin': Balance.ROUND_ROBIN,
  'least-connections': Balance.LEAST_CONNECTIONS,
  'source-hash': Balance.SOURCE_HASH,
}

/** A setting that a newer controller knows and we do not is left out, as a field of its would be. */
export function sharingItem(spec: RelaySpec | undefined): SharingItem {
  const word = balances.find(each => balanceOf[each] === spec?.balance)
  return {
    ...(word && word !== 'failover' && { balance: word }),
    ...(spec?.health && { health: healthItem(spec.health) }),
  }
}

function healthItem({ http, interval, timeout, rise, fall }: HealthCheck): HealthItem {
  const [everyMs, withinMs] = [limitMs(interval), limitMs(timeout)]
  return {
    check: http ? `http:${http}` : 'connect',
    ...(everyMs && { interval: formatDuration(everyMs) }),
    ...(withinMs && { timeout: formatDuration(withinMs) }),
    ...(rise && { rise }),
    ...(fall && { fall }),
  }
}

/** The path of a check over HTTP; empty for one that only connects. Throws a RelayError `usage`. */
export function httpPath(check: string, what: string): string {
  if (check === 'connect') return ''
  const path = /^http:(\/.*)$/.exec(check)?.[1]
  if (path !== undefined) return path
  throw usage(
    `${what} ${check}`,
    'there is no such check',
    'Write connect, or http: and the path to ask for, as http:/healthz',
  )
}

/** The same as the wire has it. Throws a RelayError `usage` when a check or a duration makes no sense. */
export function toSharing({ balance = 'failover', health }: SharingItem): Sharing {
  return { balance: balanceOf[balance], health: health && toHealth(health) }
}

function toHealth({ check, interval, timeout, rise = 0, fall = 0 }: HealthItem): HealthCheck {
  const duration = (text: string | undefined, what: string) =>
    text === undefined ? undefined : toDuration(parseDuration(text, what))
  return {
    http: httpPath(check, 'health check'),
    interval: duration(interval, 'health interval'),
    timeout: duration(timeout, 'health timeout'),
    rise,
    fall,
  }
}

/** One line a setting, for people. */
export function sharingFields({
  balance,
  health,
}: {
  readonly [K in keyof SharingItem]: SharingItem[K] | undefined
}): (readonly [string, string])[] {
  const under = Object.entries(health ?? {}).map(
    ([name, value]) => [`health.${name}`, String(value)] as const,
  )
  return [...(balance ? [['balance', balance] as const] : []), ...under]
}

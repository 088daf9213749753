import type { BanRule } from '#gen/fleetcat/v1/relay.ts'
import { checkBanRule, defaultBanMs } from '#wire/ban-rule.ts'
import { limitMs, toDuration } from '#wire/duration.ts'
import { formatDuration, parseDuration } from '../duration.ts'
import { usage } from '../failure.ts'

/** Reads `20/1m` and `1h`. Throws a RelayError `usage` when no controller would take it. */
export function banRule(after: string, lasts: string | undefined): BanRule {
  const [, count = '', within = ''] = /^(\d+)\/(.+)$/.exec(after) ?? []
  if (!count) {
    throw usage(`ban-after ${after}`, 'it is not so many arrivals in some time', 'Write for example 20/1m')
  }
  const rule = {
    after: Math.min(Number(count), 0xffff_ffff),
    within: toDuration(parseDuration(/^\d/.test(within) ? within : `1${within}`, 'ban-after')),
    lasts: toDuration(lasts === undefined ? defaultBanMs : parseDuration(lasts, 'ban-for')),
  }
  checkBanRule('automatic bans', rule)
  return rule
}

export function banItem({ after, within, lasts }: BanRule): { banAfter: string; banFor: string } {
  return {
    banAfter: `${after}/${formatDuration(limitMs(within) ?? 0)}`,
    banFor: formatDuration(limitMs(lasts) ?? 0),
  }
}

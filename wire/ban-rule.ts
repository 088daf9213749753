import type { BanRule } from '#gen/fleetcat/v1/relay.ts'
import { RelayError } from '#relay/errors.ts'
import { toMilliseconds } from './duration.ts'

export const mostArrivals = 1_000
const shortestMs = 1_000
const longestWithinMs = 3_600_000
const longestBanMs = 30 * 86_400_000

/** How long a ban lasts for which nothing else is said. */
export const defaultBanMs = 3_600_000

/** Throws a RelayError `usage` when the rule makes no sense. `what` is the relay. */
export function checkBanRule(what: string, { after, within, lasts }: BanRule): void {
  const refuse = (why: string, fix: string) => new RelayError('usage', { what, why, fix })
  if (after < 1 || after > mostArrivals)
    throw refuse(`bans come after 1 to ${mostArrivals} arrivals`, 'Write for example --ban-after 20/1m')
  const withinMs = within ? toMilliseconds(within) : 0
  if (!(withinMs >= shortestMs && withinMs <= longestWithinMs))
    throw refuse('arrivals are counted within one second to one hour', 'Write for example --ban-after 20/1m')
  const banMs = lasts ? toMilliseconds(lasts) : 0
  if (!(banMs >= shortestMs && banMs <= longestBanMs))
    throw refuse('a ban lasts between one second and 30 days', 'Write for example --ban-for 1h')
}

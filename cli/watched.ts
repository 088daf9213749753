import { setTimeout as pause } from 'node:timers/promises'
import { RelayError } from '#relay/errors.ts'
import { messages } from '#wire/call.ts'
import { failureOf } from '#wire/failure.ts'
import { advised, type FleetOptions, openFleet } from './client.ts'
import { chosenContext } from './contexts.ts'
import { formatDuration } from './duration.ts'
import type { Source } from './listing.ts'
import type { Item } from './output/print.ts'
import type { State } from './output/watch.ts'

/** How long a controller that was there may be gone before the watch gives up. */
const patienceMs = 5 * 60_000
const firstPauseMs = 500
const longestPauseMs = 10_000

/**
 * The state now, and again after each change. A controller that is lost on the way is looked for again, each time over
 * a new connection with the certificate of that day; one that was never there is an error at once.
 */
export async function* watched<T extends Item, Answer>(
  options: FleetOptions,
  { what, watch, items, unknown, omitted }: Source<T, Answer>,
): AsyncGenerator<State<T>> {
  const context = await chosenContext(options.context)
  let heard = false
  let lost: { readonly at: number; readonly notice: string } | undefined
  for (let tries = 0; ; tries++) {
    let error: RelayError
    try {
      await using fleet = await openFleet(context)
      for await (const answer of messages(watch(fleet.operator), what)) {
        const notices = [omitted?.(answer), await unknown?.(fleet.operator)]
        yield { items: items(answer), notice: notices.filter(Boolean).join('; ') }
        heard = true
        lost = undefined
        tries = 0
      }
      error = new RelayError('unavailable', { what, why: 'the controller ended the watch' })
    } catch (thrown) {
      error = failureOf(thrown, what)
    }
    // One notice for one loss: the reason changes with each try, and says no more.
    lost ??= { at: performance.now(), notice: noticeOf(error) }
    const passes = error.code === 'unavailable' || error.code === 'timed-out'
    if (!heard || !passes || performance.now() - lost.at > patienceMs) throw advised(error, context)
    yield { notice: lost.notice }
    // Watchers that lost one controller together shall not come back together.
    await pause(Math.random() * Math.min(longestPauseMs, firstPauseMs * 2 ** tries))
  }
}

const noticeOf = ({ what, why }: RelayError) =>
  `the controller is gone (${why || what}); looking for it again for up to ${formatDuration(patienceMs)}`

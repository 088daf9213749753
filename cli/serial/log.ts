import { setTimeout as pause } from 'node:timers/promises'
import type { Fleet } from '../client.ts'
import { note } from '../failure.ts'
import { openAttached } from './attached.ts'
import { showKeptLog } from './kept-log.ts'
import { matches, openLines, print } from './log-lines.ts'
import type { Place } from './place.ts'

export interface LogOptions {
  readonly follow: boolean
  /** Only lines that match. */
  readonly grep?: RegExp | undefined
  /** Only lines since then: `2h`, or a time. */
  readonly since?: string | undefined
  /** Only so much of what came before: `64k`. */
  readonly last?: string | undefined
  /** Resolves with the exit code when somebody wants it to end. */
  readonly stopped: Promise<number>
}

/**
 * Prints what a port has said, and with `follow` what it says from now on: from the files of a relay that keeps its log,
 * or else as far as its host remembers. Answers the exit code.
 */
export async function showLog(fleet: Fleet, place: Place, options: LogOptions): Promise<number> {
  const { since, follow, grep, last } = options
  // Who looks for something looks for it everywhere.
  const isSearch = since !== undefined || (grep !== undefined && !follow)
  const shown = await showKeptLog(fleet, place, { ...options, last: isSearch ? last : (last ?? usualLast) })
  if (typeof shown === 'number') return shown
  // Without times nobody can tell what was said since when.
  if (since !== undefined || !isRemembered(place, last)) throw shown
  if (shown.code === 'denied') note(`${shown.message}. What follows is what the host remembers`)
  return await showRemembered(fleet, place, options)
}

const usualLast = '64k'

function isRemembered(place: Place, last = usualLast): boolean {
  try {
    place.check('watch', `replay=${last}`)
    return true
  } catch {
    return false
  }
}

/** What was kept comes in one piece; this long after it there is no more of it. */
const restMs = 300

async function showRemembered(
  fleet: Fleet,
  place: Place,
  { follow, grep, last = usualLast, stopped }: LogOptions,
): Promise<number> {
  let heardAt = performance.now()
  const lines = openLines()
  const matching = (bytes: Buffer) =>
    lines
      .complete(bytes)
      .filter(line => matches(line, grep!))
      .join('')
  await using attached = await openAttached(fleet, place, {
    purpose: 'log',
    wish: 'watch',
    // A board may be reset by an open, and nothing is remembered of one that nobody has.
    joins: true,
    replay: last,
    told: follow ? note : () => {},
    async received(bytes) {
      heardAt = performance.now()
      await print(grep ? matching(bytes) : bytes.toString('latin1'))
    },
  })
  if (follow) return await Promise.race([stopped, attached.over])
  const quiet = (async () => {
    while (performance.now() - heardAt < restMs) await pause(restMs / 10)
    if (grep && lines.rest() !== '' && matches(lines.rest(), grep)) await print(`${lines.rest()}\n`)
    return 0
  })()
  return await Promise.race([stopped, quiet, attached.over])
}

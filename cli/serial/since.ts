import { parseDuration } from '../duration.ts'
import { usage } from '../failure.ts'

/** `2026-11-29`, and what may stand behind it: `T10:00`, with seconds, and where that is, if it is not here. */
const day = /^\d{4}-\d\d-\d\d$/
const clock = /^\d\d:\d\d(:\d\d(\.\d{1,3})?)?$/
const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,3})?)?(Z|[+-]\d\d:\d\d)?$/

/**
 * Since when, as a host is asked, which knows neither the day nor the time zone of whoever asks: `7200000ms`, or a time in
 * UTC. Throws a RelayError `usage`.
 */
export function readSince(text: string, now = new Date()): string {
  const at = Date.parse(written(text, now))
  if (!Number.isNaN(at)) return new Date(at).toISOString()
  if (/^[\d.]+([a-z]|$)/i.test(text)) return `${parseDuration(text, '--since')}ms`
  throw usage(
    `--since ${text}`,
    'it is neither a duration nor a time',
    'Write for example 2h, 10:00 (today), 2026-11-29, 2026-11-29T10:00, or 2026-11-29T10:00Z for UTC',
  )
}

/** As `Date.parse` takes it for a time here; of a day alone it would believe that it begins in UTC. */
function written(text: string, now: Date): string {
  if (day.test(text)) return `${text}T00:00`
  if (clock.test(text)) return `${dayOf(now)}T${text}`
  return time.test(text) ? text : ''
}

function dayOf(now: Date): string {
  const two = (n: number) => String(n).padStart(2, '0')
  return `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())}`
}

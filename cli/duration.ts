import { usage } from './failure.ts'

const units: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** `15s`, `500ms`, `1h30m`, `7d` as milliseconds. Throws a RelayError `usage`; `what` names where it stood. */
export function parseDuration(text: string, what: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/gy)]
  const length = parts.reduce((sum, part) => sum + part[0].length, 0)
  if (parts.length === 0 || length !== text.length) {
    const bare = /^\d+$/.test(text) && Number(text) > 0
    throw usage(
      `${what} ${text}`,
      bare ? 'it has no unit' : 'it is not a duration',
      bare ? `Write ${text}s for seconds` : 'Write for example 15s, 500ms, 2h or 1h30m',
    )
  }
  const ms = Math.round(parts.reduce((sum, part) => sum + Number(part[1]) * units[part[2]!]!, 0))
  if (ms <= 0) throw usage(`${what} ${text}`, 'it must be longer than nothing', 'Write for example 15s')
  if (ms > 3_660 * units.d!) throw usage(`${what} ${text}`, 'it is longer than ten years')
  return ms
}

/** The shortest text that `parseDuration` reads back to the same length. */
export function formatDuration(ms: number): string {
  let left = Math.round(ms)
  let text = ''
  for (const unit of ['d', 'h', 'm', 's', 'ms']) {
    const n = Math.floor(left / units[unit]!)
    left -= n * units[unit]!
    if (n > 0) text += `${n}${unit}`
  }
  return text || '0s'
}

export interface DurationBounds {
  readonly min?: number
  readonly max?: number
}

/** Reads the value of an option. */
export const durationOf =
  (option: string, { min = 0, max = Number.POSITIVE_INFINITY }: DurationBounds = {}) =>
  (text: string): number => {
    const ms = parseDuration(text, option)
    if (ms < min) throw usage(`${option} ${text}`, `the shortest is ${formatDuration(min)}`)
    if (ms > max) throw usage(`${option} ${text}`, `the longest is ${formatDuration(max)}`)
    return ms
  }

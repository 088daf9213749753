import { nearest } from '#relay/nearest.ts'
import { usage } from './failure.ts'

/** The largest first, and of equal reach the one that people write more often. */
const units: Record<string, number> = {
  GiB: 2 ** 30,
  GB: 1e9,
  MiB: 2 ** 20,
  MB: 1e6,
  KiB: 2 ** 10,
  kB: 1e3,
  B: 1,
}
const most = 2 ** 50

/** `64MiB`, `1.5GB` or `4096B` as bytes. Throws a RelayError `usage`; `what` names where it stood. */
export function parseSize(text: string, what: string): number {
  return parse(text, what, '')
}

/** `10MB/s` or `512KiB/s` as bytes a second; `/s` may be left out. Throws as `parseSize`. */
export function parseByteRate(text: string, what: string): number {
  return parse(text, what, '/s')
}

function parse(text: string, what: string, per: '' | '/s'): number {
  const [, number = '', unit = '', behind = ''] = /^(\d+(?:\.\d+)?)\s*([a-z]*)(.*)$/is.exec(text) ?? []
  const known = unit === 'KB' ? 'kB' : unit
  const kind = per ? 'a rate of bytes' : 'a size'
  const example = per ? 'Write for example 10MB/s or 512KiB/s' : 'Write for example 64MiB or 500MB'
  if (number === '' || (behind !== '' && behind !== per))
    throw usage(`${what} ${text}`, `it is not ${kind}`, example)
  const size = units[known]
  if (unit === '') throw usage(`${what} ${text}`, 'it has no unit', `Write ${number}B${per} for bytes`)
  if (size === undefined) {
    // Of an M or a mb nobody knows what it counts; the byte is the likeliest.
    const near = nearest(unit, Object.keys(units)) ?? nearest(`${unit}B`, Object.keys(units))
    throw usage(
      `${what} ${text}`,
      `\`${unit}\` is no unit of bytes`,
      near ? `Did you mean ${number}${near}${per}?` : example,
    )
  }
  const bytes = Math.round(Number(number) * size)
  if (bytes < 1) throw usage(`${what} ${text}`, 'it must be more than nothing')
  if (bytes > most) throw usage(`${what} ${text}`, 'it is more than any host has')
  return bytes
}

/** The shortest text that `parseSize` reads back to the same size. */
export function formatSize(bytes: number): string {
  const texts = Object.entries(units)
    .filter(([, size]) => bytes % size === 0)
    .map(([unit, size]) => `${bytes / size}${unit}`)
  return texts.reduce((best, text) => (text.length < best.length ? text : best), `${bytes}B`)
}

export const formatByteRate = (bytes: number): string => `${formatSize(bytes)}/s`

import { duration } from '../option-types.ts'

const { read: readDuration } = duration('since', { summary: '', min: 1 })
const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,3})?)?Z$/

/** `2h`, or a time in UTC: `2026-11-29T10:00:00.000Z`. Undefined for what is neither. */
export function readSince(text: string): { readonly agoMs: number } | { readonly at: number } | undefined {
  const at = time.test(text) ? Date.parse(text) : Number.NaN
  if (!Number.isNaN(at)) return { at }
  const reading = readDuration(text)
  return 'value' in reading ? { agoMs: reading.value } : undefined
}

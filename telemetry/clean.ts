import { sanitise } from './sanitise.ts'

const hidden = '[hidden]'
const secretNames = /^(secret|token|key|keyPem|password)$/i
const secretTexts = /fcat\d+_[\w-]+|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z ]*-----|$)/g

/** Text for a log line or a row: nothing in it is hostile to a terminal, and no secret. */
export function words(text: string, limit = 4_096): string {
  return sanitise(text.replace(secretTexts, hidden), limit)
}

export function printable(value: unknown): unknown {
  return typeof value === 'string' ? words(value) : cleanValue(value, 0)
}

/** The same of all that an object holds, at any depth. */
export function clean(fields: Record<string, unknown>): Record<string, unknown> {
  return cleanEntries(fields, 0)
}

function cleanEntries(fields: object, depth: number): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [
      sanitise(name, 64),
      secretNames.test(name) && value !== undefined ? hidden : cleanValue(value, depth),
    ]),
  )
}

function cleanValue(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return words(value, 512)
  if (typeof value === 'bigint') return value.toString()
  if (value instanceof Error) return cleanError(value)
  if (typeof value !== 'object' || value === null || value instanceof Date) return value
  if (ArrayBuffer.isView(value)) return `${value.byteLength} bytes`
  if (depth > 4) return '…'
  if (Array.isArray(value)) return value.map(item => cleanValue(item, depth + 1))
  return cleanEntries(value, depth + 1)
}

function cleanError(error: Error): Record<string, unknown> {
  const code = 'code' in error ? { code: cleanValue(error.code, 4) } : {}
  return { type: error.name, ...code, message: words(error.message) }
}

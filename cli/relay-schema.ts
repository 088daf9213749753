import { z } from 'zod'
import { nearest } from '#relay/nearest.ts'
import { usage } from './failure.ts'
import { dumpSchema, flowShape } from './flow-schema.ts'
import { apiVersion } from './output/print.ts'
import type { Mistake } from './relay-mistakes.ts'
import { healthSchema, sharingShape } from './sharing-schema.ts'

const metadata = z.strictObject({
  name: z.string(),
  labels: z.record(z.string(), z.string()).optional(),
  reason: z.string().optional(),
})
const limits = z.strictObject({
  allowFrom: z.array(z.string()).optional(),
  denyFrom: z.array(z.string()).optional(),
  maxConnections: z.number().int().positive().max(0xffff_ffff).optional(),
  ratePerSecond: z.number().positive().optional(),
  idleTimeout: z.string().optional(),
  maxConnectionAge: z.string().optional(),
  banAfter: z.string().optional(),
  banFor: z.string().optional(),
})
const spec = z.strictObject({
  listen: z.string(),
  target: z.string().optional(),
  targets: z.array(z.string()).min(1).optional(),
  agents: z.array(z.string()).optional(),
  selector: z.string().optional(),
  limits: limits.optional(),
  ...sharingShape,
  ...flowShape,
  lease: z.string().optional(),
  ttl: z.string().optional(),
  windows: z.array(z.string()).min(1).optional(),
})
const item = z.strictObject({
  apiVersion: z.literal(apiVersion).optional(),
  kind: z.literal('Relay'),
  metadata,
  spec,
})
const relay = item.required({ apiVersion: true })
const list = z.strictObject({
  apiVersion: z.literal(apiVersion),
  kind: z.literal('RelayList'),
  items: z.array(item),
})

/** A relay as a file writes it. */
export type RelayDocument = z.infer<typeof item>

export const isList = (value: unknown): boolean => isMap(value) && value.kind === 'RelayList'

/** The relays of one document; none when something about its shape is wrong. */
export function shaped(value: unknown): { items: RelayDocument[]; mistakes: Mistake[] } {
  const parsed = (isList(value) ? list : relay).safeParse(value)
  if (!parsed.success) {
    return { items: [], mistakes: parsed.error.issues.flatMap(issue => mistakesOf(issue, value)) }
  }
  return { items: 'items' in parsed.data ? parsed.data.items : [parsed.data], mistakes: [] }
}

function mistakesOf(issue: z.core.$ZodIssue, value: unknown): Mistake[] {
  const path = issue.path as (string | number)[]
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map(key => ({ path: [...path, key], error: strangeKey(path, key) }))
  }
  const given = path.reduce<unknown>((from, step) => (from as Record<string, unknown>)?.[step], value)
  const advised = meant(issue, given) ?? advice[String(path.at(-1) ?? '')] ?? adviceFor(path, given)
  const why = given === undefined ? 'is missing' : wrong(issue, given)
  return [{ path, error: usage(`${nameOf(path)} ${why}`, '', advised) }]
}

/** Of a few words that may stand there, the one that was meant. */
function meant(issue: z.core.$ZodIssue, given: unknown): string | undefined {
  if (issue.code !== 'invalid_value' || issue.values.length < 2) return undefined
  const words = issue.values.map(String)
  const near = typeof given === 'string' ? nearest(given, words) : undefined
  return near ? `Did you mean \`${near}\`?` : `There are ${words.map(word => `\`${word}\``).join(', ')}`
}

function wrong(issue: z.core.$ZodIssue, given: unknown): string {
  if (issue.code === 'invalid_value') return `is ${shown(given)}, which is not known here`
  if (issue.code === 'too_small')
    return Array.isArray(given) ? 'is empty' : `must be above 0, and is ${shown(given)}`
  if (issue.code === 'too_big') return `is ${shown(given)}, and the highest is ${issue.maximum}`
  const expected = 'expected' in issue ? String(issue.expected) : ''
  return `must be ${kinds[expected] ?? 'something else'}, and is ${shown(given)}`
}

/** What our schemas expect, in words. */
const kinds: Record<string, string> = {
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: '`true` or `false`',
  array: 'a list',
  object: 'a map',
  record: 'a map',
}

function shown(value: unknown): string {
  if (value === null) return 'empty'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object') return 'a map'
  return typeof value === 'string' ? `the text \`${value.slice(0, 80)}\`` : `\`${String(value)}\``
}

const isMap = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** `spec.targets[1]`, whether or not the relay stands in a list. */
function nameOf(path: readonly (string | number)[]): string {
  const own = path[0] === 'items' && path.length > 1 ? path.slice(2) : path
  if (own.length === 0) return path.length > 0 ? 'this item' : 'this document'
  return `\`${own
    .map(step => (typeof step === 'number' ? `[${step}]` : `.${step}`))
    .join('')
    .replace(/^\./, '')}\``
}

export const specKeys: readonly string[] = Object.keys(spec.shape)

/** The right keys at each level, for the advice on a wrong one. */
const keysAt: Record<string, readonly string[]> = {
  '': ['apiVersion', 'kind', 'metadata', 'spec', 'items'],
  metadata: Object.keys(metadata.shape),
  spec: specKeys,
  limits: Object.keys(limits.shape),
  dump: Object.keys(dumpSchema.shape),
  health: Object.keys(healthSchema.shape),
}

const readOnly = ['id', 'generation', 'createdAt', 'createdBy']

function strangeKey(path: readonly (string | number)[], key: string) {
  const parent = path.findLast(step => typeof step === 'string' && step !== 'items')
  if (key === 'status' || (parent === 'metadata' && readOnly.includes(key))) {
    return usage(
      `\`${key}\` is what the fleet reports, not what it is told`,
      '',
      'Take files from `fleetcat export`',
    )
  }
  const known = keysAt[parent ?? ''] ?? []
  const near = nearest(key, known)
  return usage(
    `\`${key}\` is no key of ${parent === undefined ? 'a relay' : nameOf(path)}`,
    '',
    near ? `Did you mean \`${near}\`?` : `There are ${known.map(k => `\`${k}\``).join(', ')}`,
  )
}

const advice: Record<string, string | undefined> = {
  '': 'Each document has apiVersion, kind, metadata and spec',
  apiVersion: `Write \`apiVersion: ${apiVersion}\``,
  kind: 'Write `kind: Relay`',
  targets: 'Write `targets:` and a list of addresses',
  listen: 'Write for example `listen: TCP4-LISTEN:8080,bind=127.0.0.1,fork`',
  idleTimeout: 'Write for example `idleTimeout: 15s`',
  maxConnectionAge: 'Write for example `maxConnectionAge: 8h`',
  banAfter: 'Write for example `banAfter: 20/1m`',
  banFor: 'Write for example `banFor: 1h`',
  maxConnections: 'Write for example `maxConnections: 100`',
  ratePerSecond: 'Write for example `ratePerSecond: 50`',
  health: 'Write for example `health: { check: http:/healthz, interval: 5s }`',
  check: 'Write `check: connect`, or http: and a path, as `check: http:/healthz`',
  interval: 'Write for example `interval: 5s`',
  timeout: 'Write for example `timeout: 2s`',
  rise: 'Write for example `rise: 2`',
  fall: 'Write for example `fall: 3`',
  throttle: 'Write for example `throttle: 10MB/s`',
  dump: 'Write for example `dump: { format: both, file: /var/log/wire.log }`',
  rotate: 'Write for example `rotate: 64MiB`',
  keep: 'Write for example `keep: 5`',
  lease: 'Write for example `lease: 60s`',
  windows: 'Write for example `windows: [Mon-Fri 08:00-18:00 Europe/Paris]`',
  ttl: 'Write for example `ttl: 2h`',
}

/** The same thing as it would be right, where that can be known. */
function adviceFor(path: readonly (string | number)[], given: unknown): string | undefined {
  const key = path.at(-1)
  const plain = typeof given === 'string' || typeof given === 'number' || typeof given === 'boolean'
  if (path.at(-2) === 'labels') return plain ? `Write \`${key}: "${given}"\`` : `Write \`${key}: "…"\``
  const isListed = key === 'tee' || key === 'allowFrom' || key === 'denyFrom' || key === 'agents'
  return isListed && plain ? `Write \`${key}: [${given}]\`` : undefined
}

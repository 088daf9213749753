import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { type Document, isNode, LineCounter, parseAllDocuments } from 'yaml'
import { z } from 'zod'
import type { RelayDraft } from '#gen/fleetcat/v1/operator.ts'
import { RelayError } from '#relay/errors.ts'
import { nearest } from '#relay/nearest.ts'
import { toDraft } from './draft.ts'
import { usage } from './failure.ts'
import { apiVersion } from './output/print.ts'

const metadata = z.strictObject({
  name: z.string(),
  labels: z.record(z.string(), z.coerce.string()).optional(),
  reason: z.string().optional(),
})
const limits = z.strictObject({
  allowFrom: z.array(z.string()).optional(),
  denyFrom: z.array(z.string()).optional(),
  maxConnections: z.number().int().positive().optional(),
  ratePerSecond: z.number().positive().optional(),
  idleTimeout: z.string().optional(),
  maxConnectionAge: z.string().optional(),
})
const spec = z.strictObject({
  listen: z.string(),
  target: z.string().optional(),
  targets: z.array(z.string()).min(1).optional(),
  agents: z.array(z.string()).optional(),
  selector: z.string().optional(),
  limits: limits.optional(),
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

/** The right keys at each level, for the advice on a wrong one. */
const keysAt: Record<string, readonly string[]> = {
  '': ['apiVersion', 'kind', 'metadata', 'spec', 'items'],
  metadata: Object.keys(metadata.shape),
  spec: Object.keys(spec.shape),
  limits: Object.keys(limits.shape),
}

/** The relays of all these files; `-` is stdin, a directory means its *.yaml, *.yml and *.json. */
export async function readRelayFiles(paths: readonly string[]): Promise<RelayDraft[]> {
  const placed: { draft: RelayDraft; where: string }[] = []
  for (const path of (await Promise.all(paths.map(expand))).flat()) {
    placed.push(...(await parseRelays(await read(path), path === '-' ? 'stdin' : path)))
  }
  const seen = new Map<string, string>()
  for (const { draft, where } of placed) {
    const before = seen.get(draft.name)
    if (before) throw usage(where, `relay/${draft.name} is at ${before} already`, 'Keep one of the two')
    seen.set(draft.name, where)
  }
  return placed.map(({ draft }) => draft)
}

async function expand(path: string): Promise<string[]> {
  if (path === '-') return [path]
  try {
    if (!(await stat(path)).isDirectory()) return [path]
    const names = (await readdir(path)).filter(name => /\.(ya?ml|json)$/.test(name)).sort()
    if (names.length === 0) throw usage(`directory ${path}`, 'it has no *.yaml file')
    return names.map(name => join(path, name))
  } catch (thrown) {
    throw RelayError.from(thrown, `file ${path}`)
  }
}

async function read(path: string): Promise<string> {
  if (path === '-') return text(process.stdin)
  try {
    return await readFile(path, 'utf8')
  } catch (thrown) {
    throw RelayError.from(thrown, `file ${path}`)
  }
}

/** All relays of one text. Throws a RelayError `usage` that names file and line. */
export async function parseRelays(
  source: string,
  file: string,
): Promise<{ draft: RelayDraft; where: string }[]> {
  const lines = new LineCounter()
  const found: { draft: RelayDraft; where: string }[] = []
  const documents = parseAllDocuments(source, { lineCounter: lines, prettyErrors: false })
  for (const document of Array.isArray(documents) ? documents : []) {
    const line = (offset: number) => `${file}:${lines.linePos(offset).line}`
    const [broken] = document.errors
    if (broken) throw usage(line(broken.pos[0]), `it is not YAML: ${broken.message}`)
    const value: unknown = document.toJS()
    if (value === null || value === undefined) continue
    const at = (path: readonly PropertyKey[]) => line(offsetOf(document, path))
    const isList = (value as { kind?: unknown }).kind === 'RelayList'
    const parsed = (isList ? list : relay).safeParse(value)
    if (!parsed.success) throw shapeError(parsed.error.issues[0]!, value, at)
    const items = 'items' in parsed.data ? parsed.data.items : [parsed.data]
    for (const [i, one] of items.entries()) {
      const prefix = isList ? ['items', i] : []
      found.push({ draft: await located(at([...prefix, 'spec']), one), where: at([...prefix, 'metadata']) })
    }
  }
  return found
}

async function located(where: string, { metadata, spec }: z.infer<typeof item>): Promise<RelayDraft> {
  const { listen, target, targets = [], agents = [], selector = '', limits = {} } = spec
  if ((target === undefined) === (targets.length === 0)) {
    throw usage(
      `${where}: relay/${metadata.name}`,
      target === undefined ? 'it has no target' : 'it has both `target` and `targets`',
      'Write `targets:` and a list, or `target:` and one address',
    )
  }
  try {
    return await toDraft({
      name: metadata.name,
      labels: metadata.labels ?? {},
      reason: metadata.reason ?? '',
      spec: {
        listen,
        targets: target === undefined ? targets : [target],
        agents,
        selector,
        limits: defined(limits),
      },
    })
  } catch (thrown) {
    throw RelayError.from(thrown, `relay/${metadata.name}`).within(`${where}: relay/${metadata.name}`)
  }
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> }
const defined = <T extends object>(given: T) =>
  Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as Defined<T>

/** Where a path begins; of what is missing, where it should have been. */
function offsetOf(document: Document.Parsed, path: readonly PropertyKey[]): number {
  for (let depth = path.length; depth > 0; depth--) {
    const node = document.getIn(path.slice(0, depth), true)
    if (isNode(node) && node.range) return node.range[0]
  }
  return document.contents?.range[0] ?? document.range[0]
}

function shapeError(
  issue: z.core.$ZodIssue,
  value: unknown,
  at: (path: readonly PropertyKey[]) => string,
): RelayError {
  const path = issue.path.filter(step => typeof step === 'string')
  if (issue.code === 'unrecognized_keys') {
    const key = issue.keys[0]!
    const where = at([...issue.path, key])
    const known = keysAt[path.filter(step => step !== 'items').at(-1) ?? ''] ?? []
    if (key === 'status' || (path.at(-1) === 'metadata' && readOnly.includes(key))) {
      return usage(
        where,
        `\`${key}\` is what the fleet reports, not what it is told`,
        'Take files from `fleetcat export`',
      )
    }
    const near = nearest(key, known)
    return usage(
      where,
      `\`${key}\` is no key of ${path.length > 0 ? `\`${path.join('.')}\`` : 'a relay'}`,
      near
        ? `Did you mean \`${near}\`?`
        : `There ${known.length === 1 ? 'is' : 'are'} ${known.map(k => `\`${k}\``).join(', ')}`,
    )
  }
  const name = path.length > 0 ? `\`${path.join('.')}\`` : 'this document'
  const given = issue.path.reduce<unknown>(
    (from, step) => (from as Record<PropertyKey, unknown>)?.[step],
    value,
  )
  if (given === undefined) return usage(at(issue.path), `${name} is missing`, advice[path.at(-1) ?? ''])
  return usage(at(issue.path), `${name} is not right: ${issue.message}`, advice[path.at(-1) ?? ''])
}

const readOnly = ['id', 'generation', 'createdAt', 'createdBy']

const advice: Record<string, string | undefined> = {
  '': 'Each document has apiVersion, kind, metadata and spec',
  apiVersion: `Write \`apiVersion: ${apiVersion}\``,
  kind: 'Write `kind: Relay`',
  targets: 'Write `targets:` and a list of addresses',
  listen: 'Write for example `listen: TCP4-LISTEN:8080,bind=127.0.0.1,fork`',
  idleTimeout: 'Write for example `idleTimeout: 15s`',
  maxConnectionAge: 'Write for example `maxConnectionAge: 8h`',
}

import { open } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { type Document, isMap, isNode, isScalar, LineCounter, parseDocument } from 'yaml'
import { z } from 'zod'
import { requireOwn, requireOwnDirectory } from '#identity/ownership.ts'
import { RelayError } from '#relay/errors.ts'
import { nearest } from '#relay/nearest.ts'
import { failureOf } from '#wire/failure.ts'
import { checkLabel } from '#wire/labels.ts'
import { type Rule, type Rules, rule } from './rules.ts'

/** What the host's owner wrote: the ceiling, and the labels under which the host presents itself. */
export interface Config extends Rules {
  readonly labels: Readonly<Record<string, string>>
}

const patterns = z.array(z.string()).nullish()
const shape = z.strictObject({
  permit: patterns,
  forbid: patterns,
  labels: z.record(z.string(), z.string()).nullish(),
})
const keys = Object.keys(shape.shape)

/**
 * Reads agent.yaml: the file named, or the one of the data directory if there is one. Rejects with a RelayError that
 * names the file, the line, and what would be right.
 */
export async function readConfig(options: { dataDir: string; configFile?: string }): Promise<Config> {
  const file = options.configFile ?? join(options.dataDir, 'agent.yaml')
  try {
    const text = await readOwn(file)
    // Here, whoever can remove the file removes the ceiling; one that was named would be missed.
    if (options.configFile === undefined) await requireOwnDirectory(dirname(file))
    return parseConfig(text, basename(file))
  } catch (thrown) {
    if (options.configFile === undefined && isMissing(thrown)) return { permit: [], forbid: [], labels: {} }
    throw failureOf(thrown, `configuration ${file}`)
  }
}

/** Whoever can write to the ceiling can raise it. */
async function readOwn(file: string): Promise<string> {
  await using opened = await open(file, 'r')
  const why = 'others can write to the ceiling of this host'
  requireOwn(file, await opened.stat(), { mode: 0o022, why, chmod: 'go-w' })
  return await opened.readFile('utf8')
}

const isMissing = (thrown: unknown) => thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT'

/** `name` is how messages call the file. Throws a RelayError `usage`. */
export function parseConfig(text: string, name = 'agent.yaml'): Config {
  const lines = new LineCounter()
  const doc = parseDocument(text, { lineCounter: lines, prettyErrors: false })
  const at = (offset: number) => `${name}:${lines.linePos(offset).line}`
  const [broken] = doc.errors
  if (broken) throw refuse(at(broken.pos[0]), `it is no YAML: ${broken.message}`)
  const parsed = shape.safeParse(doc.toJS() ?? {})
  if (!parsed.success) throw shapeError(parsed.error.issues[0]!, doc, at)
  const where = (path: readonly PropertyKey[]) => at(offsetOf(doc, path))
  const { permit, forbid, labels } = parsed.data
  for (const [key, value] of Object.entries(labels ?? {}))
    located(where(['labels', key]), () => checkLabel(key, value))
  return {
    permit: readRules(permit, 'permit', where),
    forbid: readRules(forbid, 'forbid', where),
    labels: labels ?? {},
  }
}

type Where = (path: readonly PropertyKey[]) => string

function readRules(
  list: readonly string[] | null | undefined,
  key: 'permit' | 'forbid',
  where: Where,
): Rule[] {
  return (list ?? []).map((text, index) => {
    const from = where([key, index])
    return located(from, () => rule(text, from, key))
  })
}

/** What is wrong inside a line is said by whoever reads it; where the line stands, only we know. */
function located<T>(where: string, read: () => T): T {
  try {
    return read()
  } catch (thrown) {
    const { code, what, why, fix } = RelayError.from(thrown, where)
    throw new RelayError(code, { what: `${where}: ${what}`, why, fix, cause: thrown })
  }
}

function shapeError(
  issue: z.core.$ZodIssue,
  doc: Document.Parsed,
  at: (offset: number) => string,
): RelayError {
  const where = at(offsetOf(doc, issue.path))
  if (issue.code === 'unrecognized_keys') {
    const key = issue.keys[0]!
    const meant = nearest(key, keys)
    return refuse(
      at(keyOffset(doc, key)),
      `there is no \`${key}\` in this file`,
      meant ? `Write \`${meant}:\`` : `It may have ${keys.map(k => `\`${k}:\``).join(', ')}`,
    )
  }
  const [key, item] = issue.path
  if (key === undefined) return refuse(where, 'the file is not a list of settings', 'Begin it with `permit:`')
  if (key === 'labels' && item !== undefined)
    return refuse(where, `the value of label \`${String(item)}\` is no text`, 'Put it in quotes')
  if (key === 'labels')
    return refuse(where, '`labels:` is not a list of names and values', 'Write e.g. `rack: "r12"` below it')
  if (item === undefined)
    return refuse(
      where,
      `\`${String(key)}:\` is not a list`,
      `Write each pattern on a line of its own: \`  - TCP-LISTEN:10.0.0.0/8:8000-8999\``,
    )
  return refuse(where, 'this pattern is no text', 'Put it in quotes')
}

function refuse(where: string, why: string, fix?: string): RelayError {
  return new RelayError('usage', { what: where, why, fix })
}

function offsetOf(doc: Document.Parsed, path: readonly PropertyKey[]): number {
  const node = path.length === 0 ? doc.contents : doc.getIn(path, true)
  return isNode(node) ? (node.range?.[0] ?? 0) : path.length > 0 ? offsetOf(doc, path.slice(0, -1)) : 0
}

function keyOffset(doc: Document.Parsed, key: string): number {
  if (!isMap(doc.contents)) return 0
  const found = doc.contents.items.find(pair => isScalar(pair.key) && String(pair.key.value) === key)
  return isScalar(found?.key) ? (found.key.range?.[0] ?? 0) : 0
}

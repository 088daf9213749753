import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { type Document, isNode, LineCounter, parseAllDocuments } from 'yaml'
import type { RelayDraft } from '#gen/fleetcat/v1/operator.ts'
import { RelayError } from '#relay/errors.ts'
import { toDraft } from './draft.ts'
import { usage } from './failure.ts'
import { flowGiven, given } from './flow-schema.ts'
import { type Mistake, valueMistakes } from './relay-mistakes.ts'
import { isList, type RelayDocument, shaped } from './relay-schema.ts'
import { sharingGiven } from './sharing-schema.ts'

interface Placed {
  readonly draft: RelayDraft
  readonly where: string
}

/**
 * The relays of all these files; `-` is stdin, a directory means its *.yaml, *.yml and *.json. Rejects with a
 * RelayError, or with an AggregateError of them when there are several mistakes.
 */
export async function readRelayFiles(paths: readonly string[]): Promise<RelayDraft[]> {
  const placed: Placed[] = []
  const mistakes: RelayError[] = []
  for (const path of (await Promise.all(paths.map(expand))).flat()) {
    const file = await relaysIn(await read(path), path === '-' ? 'stdin' : path)
    placed.push(...file.placed)
    mistakes.push(...file.mistakes)
  }
  const seen = new Map<string, string>()
  for (const { draft, where } of placed) {
    const before = seen.get(draft.name)
    if (before)
      mistakes.push(usage(where, `relay/${draft.name} is at ${before} already`, 'Keep one of the two'))
    seen.set(draft.name, where)
  }
  refuse(mistakes)
  return placed.map(({ draft }) => draft)
}

function refuse(mistakes: readonly RelayError[]): void {
  const [first] = mistakes
  if (!first) return
  if (mistakes.length === 1) throw first
  throw new AggregateError(mistakes, mistakes.map(({ message }) => message).join('\n'))
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

/** All relays of one text. Throws errors that name file and line, for all mistakes at once. */
export async function parseRelays(source: string, file: string): Promise<Placed[]> {
  const { placed, mistakes } = await relaysIn(source, file)
  refuse(mistakes)
  return placed
}

async function relaysIn(source: string, file: string): Promise<{ placed: Placed[]; mistakes: RelayError[] }> {
  const lines = new LineCounter()
  const placed: Placed[] = []
  const mistakes: { readonly line: number; readonly error: RelayError }[] = []
  const lineAt = (offset: number) => lines.linePos(offset).line
  const documents = parseAllDocuments(source, { lineCounter: lines, prettyErrors: false })
  for (const document of Array.isArray(documents) ? documents : []) {
    const lineOf = (path: readonly PropertyKey[]) => lineAt(offsetOf(document, path))
    for (const { pos, message } of document.errors) {
      mistakes.push({ line: lineAt(pos[0]), error: usage(`it is not YAML: ${message}`, '') })
    }
    if (document.errors.length > 0) continue
    const value: unknown = document.toJS()
    if (value === null || value === undefined) continue
    const shape = shaped(value)
    const found = [...shape.mistakes, ...(await valuesOf(value))]
    mistakes.push(...found.map(({ path, error }) => ({ line: lineOf(path), error })))
    if (found.length > 0) continue
    for (const [i, item] of shape.items.entries()) {
      const where = `${file}:${lineOf([...(isList(value) ? ['items', i] : []), 'metadata'])}`
      placed.push({ draft: await drafted(item), where })
    }
  }
  mistakes.sort((a, b) => a.line - b.line)
  return { placed, mistakes: mistakes.map(({ line, error }) => at(`${file}:${line}`, error)) }
}

/** The mistakes in the values of each relay of a document. */
async function valuesOf(value: unknown): Promise<Mistake[]> {
  if (!isList(value)) return valueMistakes(value)
  const { items } = value as { items?: unknown }
  const found: Mistake[] = []
  for (const [i, item] of (Array.isArray(items) ? items : []).entries()) {
    const mistakes = await valueMistakes(item)
    found.push(...mistakes.map(({ path, error }) => ({ path: ['items', i, ...path], error })))
  }
  return found
}

function drafted({ metadata, spec }: RelayDocument): Promise<RelayDraft> {
  const {
    listen,
    target,
    targets = [],
    agents = [],
    selector = '',
    limits = {},
    balance,
    health,
    lease,
    ttl,
    windows,
    ...flow
  } = spec
  return toDraft({
    name: metadata.name,
    labels: metadata.labels ?? {},
    reason: metadata.reason ?? '',
    spec: {
      listen,
      targets: target === undefined ? targets : [target],
      agents,
      selector,
      limits: given(limits),
      ...sharingGiven({ balance, health }),
      ...flowGiven(flow),
      ...given({ lease, ttl, windows }),
    },
  })
}

const at = (where: string, { code, what, why, fix }: RelayError) =>
  new RelayError(code, { what: `${where}: ${what}`, why, fix })

/** Where a path begins; of what is missing, where it should have been. */
function offsetOf(document: Document.Parsed, path: readonly PropertyKey[]): number {
  for (let depth = path.length; depth > 0; depth--) {
    const node = document.getIn(path.slice(0, depth), true)
    if (isNode(node) && node.range) return node.range[0]
  }
  return document.contents?.range[0] ?? document.range[0]
}

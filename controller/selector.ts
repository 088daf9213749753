import { RelayError } from '#relay/errors.ts'

/** Kubernetes' label selectors: `site=paris,env!=dev,role in (db,cache),!retired,gpu`. */
export interface Selector {
  readonly text: string
  matches(labels: Readonly<Record<string, string>>): boolean
}

type Requirement = (labels: Readonly<Record<string, string>>) => boolean

/** Throws a RelayError `usage` that points at where the text stops making sense. An empty text matches everything. */
export function parseSelector(text: string): Selector {
  const scan = openScan(text)
  const requirements: Requirement[] = []
  scan.take(blank)
  while (!scan.isDone() || requirements.length > 0) {
    requirements.push(requirement(scan))
    scan.take(blank)
    if (scan.isDone()) break
    if (!scan.take(/,/y)) throw malformed(scan)
    scan.take(blank)
  }
  return { text, matches: labels => requirements.every(holds => holds(labels)) }
}

const blank = /\s+/y
const labelName = /[\w./-]+/y
const labelValue = /[\w.-]*/y

function requirement(scan: Scan): Requirement {
  if (scan.take(/!\s*/y)) {
    const absent = must(scan, labelName)
    return labels => labelOf(labels, absent) === undefined
  }
  const name = must(scan, labelName)
  const operator = scan.take(/\s*(?:==|!=|=)\s*/y)?.trim()
  if (operator) {
    const value = must(scan, labelValue)
    return operator === '!='
      ? labels => labelOf(labels, name) !== value
      : labels => labelOf(labels, name) === value
  }
  const set = scan.take(/\s+(?:not)?in\b\s*/iy)?.trim()
  if (!set) return labels => labelOf(labels, name) !== undefined
  const listed = members(scan)
  // Of a label that is absent the value is in no set.
  const wanted = set.toLowerCase() === 'in'
  return labels => listed.has(labelOf(labels, name)) === wanted
}

/** `(db,cache)`. Among others there may be an empty one, for the label that has no value. */
function members(scan: Scan): Set<string | undefined> {
  must(scan, /\(\s*/y)
  const listed = new Set<string | undefined>()
  do {
    listed.add(must(scan, labelValue))
    scan.take(blank)
  } while (scan.take(/,\s*/y))
  if (listed.size === 1 && listed.has('')) throw malformed(scan)
  must(scan, /\)/y)
  return listed
}

/** A text and how far it has been read. */
interface Scan {
  readonly text: string
  readonly at: number
  isDone(): boolean
  /** What stands here, if it is that. The pattern is sticky. */
  take(pattern: RegExp): string | undefined
}

function openScan(text: string): Scan {
  let at = 0
  return {
    text,
    get at() {
      return at
    },
    isDone: () => at >= text.length,
    take(pattern) {
      pattern.lastIndex = at
      const found = pattern.exec(text)?.[0]
      at += found?.length ?? 0
      return found
    },
  }
}

function must(scan: Scan, pattern: RegExp): string {
  const found = scan.take(pattern)
  if (found === undefined) throw malformed(scan)
  return found
}

/** Labels are data: `toString` is a label only if somebody set it. */
function labelOf(labels: Readonly<Record<string, string>>, name: string): string | undefined {
  return Object.hasOwn(labels, name) ? labels[name] : undefined
}

function malformed({ text, at }: Scan): RelayError {
  return new RelayError('usage', {
    what: `selector \`${text}\``,
    why: `it makes no sense from character ${at + 1} on`,
    fix: 'Write for example `site=paris,env!=dev,role in (db,cache)`',
  })
}

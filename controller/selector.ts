import { RelayError } from '#relay/errors.ts'

/** Kubernetes' label selectors: `site=paris,env!=dev,role in (db,cache),!retired,gpu`. */
export interface Selector {
  readonly text: string
  matches(labels: Readonly<Record<string, string>>): boolean
}

type Requirement = (labels: Readonly<Record<string, string>>) => boolean

const term =
  /^\s*(?:(!)\s*([\w./-]+)|([\w./-]+)(?:\s*(==|=|!=)\s*([\w.-]*)|\s+(in|notin)\s*\(([^()]*)\))?)\s*(?:,|$)/i

const member = /^[\w.-]*$/

/** Throws a RelayError `usage` that shows where the text stops making sense. An empty text matches everything. */
export function parseSelector(text: string): Selector {
  const requirements: Requirement[] = []
  const whole = text.trimEnd()
  let rest = whole.trimStart()
  while (rest !== '') {
    const at = whole.length - rest.length
    const found = term.exec(rest)
    if (!found || found[0] === '') throw malformed(text, at)
    const comma = found[0].trimEnd().endsWith(',')
    rest = rest.slice(found[0].length)
    if (comma && rest.trim() === '') throw malformed(text, text.length)
    requirements.push(requirement(found) ?? malformedSet(text, at + found[0].indexOf('(')))
  }
  return { text, matches: labels => requirements.every(holds => holds(labels)) }
}

/** Nothing for a set whose members could be no label's value. */
function requirement([, not, absent, name = '', operator, value = '', set, members = '']: RegExpExecArray):
  | Requirement
  | undefined {
  if (not) return labels => labelOf(labels, absent as string) === undefined
  if (operator === '!=') return labels => labelOf(labels, name) !== value
  if (operator) return labels => labelOf(labels, name) === value
  if (!set) return labels => labelOf(labels, name) !== undefined
  const listed = new Set<string | undefined>(members.split(',').map(m => m.trim()))
  if (members.trim() === '' || [...listed].some(each => !member.test(each as string))) return undefined
  // Of a label that is absent the value is in no set.
  const wanted = set.toLowerCase() === 'in'
  return labels => listed.has(labelOf(labels, name)) === wanted
}

/** Labels are data: `toString` is a label only if somebody set it. */
function labelOf(labels: Readonly<Record<string, string>>, name: string): string | undefined {
  return Object.hasOwn(labels, name) ? labels[name] : undefined
}

function malformedSet(text: string, at: number): never {
  throw malformed(text, at)
}

function malformed(text: string, at: number): RelayError {
  return new RelayError('usage', {
    what: `selector \`${text}\``,
    why: `it makes no sense from character ${at + 1} on`,
    fix: 'Write for example `site=paris,env!=dev,role in (db,cache)`',
  })
}

import { RelayError } from '#relay/errors.ts'

/** Kubernetes' label selectors: `site=paris,env!=dev,role in (db,cache),!retired,gpu`. */
export interface Selector {
  readonly text: string
  matches(labels: Readonly<Record<string, string>>): boolean
}

type Requirement = (labels: Readonly<Record<string, string>>) => boolean

const term =
  /^\s*(?:(!)\s*([\w./-]+)|([\w./-]+)(?:\s*(==|=|!=)\s*([\w.-]*)|\s+(in|notin)\s*\(([^()]*)\))?)\s*(?:,|$)/i

/** Throws a RelayError `usage` that shows where the text stops making sense. An empty text matches everything. */
export function parseSelector(text: string): Selector {
  const requirements: Requirement[] = []
  let rest = text.trim()
  while (rest !== '') {
    const found = term.exec(rest)
    if (!found || found[0] === '') throw malformed(text, text.trim().length - rest.length)
    const comma = found[0].trimEnd().endsWith(',')
    rest = rest.slice(found[0].length)
    if (comma && rest.trim() === '') throw malformed(text, text.length)
    requirements.push(requirement(found))
  }
  return { text, matches: labels => requirements.every(holds => holds(labels)) }
}

function requirement([
  ,
  not,
  absent,
  name = '',
  operator,
  value = '',
  set,
  members = '',
]: RegExpExecArray): Requirement {
  if (not) return labels => labels[absent as string] === undefined
  if (operator === '!=') return labels => labels[name] !== value
  if (operator) return labels => labels[name] === value
  if (!set) return labels => labels[name] !== undefined
  const listed = new Set(members.split(',').map(m => m.trim()))
  if (set.toLowerCase() === 'in') return labels => labels[name] !== undefined && listed.has(labels[name])
  return labels => labels[name] === undefined || !listed.has(labels[name])
}

function malformed(text: string, at: number): RelayError {
  return new RelayError('usage', {
    what: `selector \`${text}\``,
    why: `it makes no sense from character ${at + 1} on`,
    fix: 'Write for example `site=paris,env!=dev,role in (db,cache)`',
  })
}

import { type Address, addressError, formatAddress, type Option, parseAddress } from './address.ts'
import {
  type CommandPattern,
  commandPatternFor,
  matchesCommand,
  readCommandPattern,
  shellBounds,
} from './command-pattern.ts'
import type { EndpointKind } from './endpoint.ts'
import { absentKindOf, kindOf, suggestKeyword } from './endpoints/index.ts'
import { flattened, goesUp } from './flattened.ts'
import { glob, isOpen, literalGlob, splitHead } from './glob.ts'
import {
  type HostPattern,
  matchesName,
  matchesPort,
  type PortPattern,
  type Refuse,
  readHostPattern,
  readPortPattern,
  wideGlob,
} from './host-pattern.ts'
import { type Cidr, canonicalIp, contains, embeddedIpv4 } from './ip.ts'
import { canonicalOptions } from './options.ts'
import { readPort } from './ports.ts'

/**
 * A line of a ceiling: an address with stars in it. `TCP-LISTEN:10.0.0.0/8:8000-8999`, `TCP:*.example.com:443`,
 * `OPEN:/var/log/app/**,rdonly`, `@db-1/TCP:127.0.0.1:5432`.
 */
export interface Pattern {
  readonly text: string
  /** `*`: every kind of target that has a host and a port. */
  readonly keyword: string
  /** Which agents of `@AGENT/`; a pattern without it speaks of addresses without it. */
  readonly host?: (agent: string) => boolean
  readonly args: readonly ArgPattern[]
  readonly options: readonly Option[]
}

type ArgPattern =
  | CommandPattern
  | HostPattern
  | PortPattern
  | {
      readonly is: 'text'
      readonly literal: boolean
      readonly text: string
      readonly matches: (text: string) => boolean
    }

/** `by-address`: it depends on what the host name resolves to, which is known when the address is opened. */
export type Verdict = 'yes' | 'no' | 'by-address'

/**
 * In doubt a permit does not match and a forbid does. A permit covers no option that it does not mention; a forbid
 * covers the address whatever its options, a kind that is as wide as its own or wider, and a listener on all
 * addresses when it names one of them.
 */
export type Sense = 'permit' | 'forbid'

/**
 * Reads a pattern. Throws a RelayError `usage` that says what is wrong and what would be right. Only what is forbidden
 * can be said without a kind, as `*:10.66.0.0/16:*`: whoever permits something has to know what.
 */
export function parsePattern(text: string, sense: Sense = 'permit'): Pattern {
  const [, agents, rest = ''] = /^(?:@([^/]*)\/)?(.*)$/s.exec(text) ?? []
  if (rest.startsWith('*:') && sense === 'permit') {
    const why = 'a line that permits names the kind that it permits'
    throw addressError(text, 0, { why, fix: `Write e.g. \`TCP${rest.slice(1)}\`, a line for each kind` })
  }
  // Whatever the kind, its hosts and ports are written as those of TCP are.
  const isAnyKind = rest.startsWith('*:')
  const address = parseAddress(isAnyKind ? `TCP${rest.slice(1)}` : rest)
  const refuse = (why: string, fix: string) => addressError(text, 0, { why, fix })
  if (agents !== undefined && !/^[a-z0-9*][a-z0-9*._-]*$/i.test(agents)) {
    throw refuse('`@` names agents and an address there', 'Write e.g. `@db-*/TCP:127.0.0.1:5432`')
  }
  if (address.host !== undefined) throw refuse('an address is placed on one agent', 'Write one `@AGENT/`')
  const row = kindOf(address.keyword) ?? absentKindOf(address.keyword)
  if (!row)
    throw refuse(`there is no kind of address called \`${address.keyword}\``, suggestKeyword(address.keyword))
  if ('byHand' in row && row.byHand !== undefined) {
    throw refuse(`no line can speak of ${row.keyword}: ${row.byHand}`, 'Remove it')
  }
  const shape = shapeOf(row.syntax)
  if (shape === 'host-port' && address.options.length > 0) {
    throw refuse(
      `a pattern for ${row.keyword} has no options: it covers them all`,
      'Remove the comma and what follows',
    )
  }
  const args = readArgs[shape](address, row.syntax, refuse)
  if (shape === 'command-line' || shape === 'command') refuseNumbers(address, refuse)
  const host = agents === undefined ? {} : { host: wideGlob(agents.toLowerCase()) }
  const options = 'groups' in row ? ruledOptions(address, row, refuse) : address.options
  return { text, keyword: isAnyKind ? '*' : row.keyword, ...host, args, options }
}

/**
 * Does the pattern cover this scope (see `Endpoint.scope`)? `ip` is what the host resolved to, once that is known;
 * without it a name under a pattern of networks is `by-address`.
 */
export function matches(pattern: Pattern, scope: Address, ip?: string, sense: Sense = 'permit'): Verdict {
  if (pattern.keyword === '*') return matchAnyKind(pattern, scope, ip)
  if (!coversKind(pattern.keyword, scope.keyword, sense)) return 'no'
  if (pattern.host ? scope.host === undefined || !pattern.host(scope.host) : scope.host !== undefined)
    return 'no'
  if (pattern.args.length !== scope.args.length) return 'no'
  if (!coversOptions(pattern.options, scope.options, sense)) return 'no'
  let verdict: Verdict = 'yes'
  for (const [at, arg] of pattern.args.entries()) {
    const one = matchArg(arg, scope.args[at]!, askedAt(at, { ip, sense, scope }))
    if (one === 'no') return 'no'
    if (one === 'by-address') verdict = one
  }
  return verdict
}

/**
 * All of its hosts are meant. What the name of one that somebody else reaches for us means is not asked here: that host
 * is a TCP target of its own, as a leg of the address.
 */
function matchAnyKind({ args: [host, port], host: agents }: Pattern, scope: Address, ip?: string): Verdict {
  const kind = kindOf(scope.keyword)
  if (kind === undefined || kind.role === 'listen' || shapeOf(kind.syntax) !== 'host-port') return 'no'
  if (agents ? scope.host === undefined || !agents(scope.host) : scope.host !== undefined) return 'no'
  const asked = { ip: undefined, sense: 'forbid', scope } as const
  if (matchArg(port!, scope.args.at(-1)!, asked) === 'no') return 'no'
  const [first, ...others] = scope.args.slice(0, -1)
  if (others.some(text => matchArg(host!, text, asked) === 'yes')) return 'yes'
  return matchArg(host!, first!, { ...asked, ip })
}

/** Only the first host is ever resolved here; of a second one there is no more to know than its name. */
function askedAt(at: number, asked: Asked): Asked {
  return at === 0 ? asked : { ...asked, ip: undefined, isBeyond: true }
}

/** The very line that permits exactly this scope. */
export function patternFor(scope: Address): string {
  const kind = kindOf(scope.keyword) ?? absentKindOf(scope.keyword)
  const literal = {
    'host-port': bracketed,
    'command-line': commandPatternFor,
    command: literalGlob,
    text: literalGlob,
  }
  const args = scope.args.map(kind ? literal[shapeOf(kind.syntax)] : bracketed)
  const options = scope.options.map(({ value, ...option }) =>
    value === undefined ? option : { ...option, value: literalGlob(value) },
  )
  return formatAddress({ ...scope, args, options })
}

/**
 * The same pattern with the directories that it names in full exchanged for what `realPath` says of them: whatever links
 * are there were laid, or are known, by whoever wrote it. Those that stars stand for stay what they are.
 */
export function throughLinks(pattern: Pattern, realPath: (directory: string) => string): Pattern {
  const [arg, ...others] = pattern.args
  if (arg?.is !== 'text' || !arg.text.startsWith('/')) return pattern
  const { head, rest } = splitHead(arg.text)
  const text = `${literalGlob(realPath(head)).replace(/\/$/, '')}/${rest}`
  return { ...pattern, args: [{ ...arg, text, matches: glob(text) }, ...others] }
}

/** Does the pattern name this very IP, and not just a network that holds it? Always-denied targets ask for that. */
export function namesExactly(pattern: Pattern, ip: string): boolean {
  const [first] = pattern.args
  return (
    first?.is === 'network' && first.cidr.bits === first.cidr.bytes.length * 8 && contains(first.cidr, ip)
  )
}

function bracketed(host: string): string {
  return host.includes(':') && !host.startsWith('[') ? `[${host}]` : host
}

/** What the line says, and what the kind says by itself: whoever permits CREATE permits to create. */
function ruledOptions(address: Address, { groups, ruled, keyword }: EndpointKind, refuse: Refuse): Option[] {
  const options = canonicalOptions(address, groups)
  if (!ruled) return options
  const idle = options.find(({ name }) => !ruled.includes(name))
  if (idle) {
    const why = `\`${idle.name}\` makes no difference to what ${keyword} may do`
    throw refuse(why, `Remove it: a line for ${keyword} may have ${ruled.join(', ')}`)
  }
  // Without a path nothing is opened, and nothing made.
  if (address.args.length === 0) return options
  const implied = groups
    .flatMap(group => Object.values(group.options))
    .filter(({ name, always }) => always && ruled.includes(name) && !options.some(o => o.name === name))
  return [...options, ...implied.map(({ name }) => ({ name, at: 0 }))]
}

type Shape = 'host-port' | 'text' | 'command-line' | 'command'

function shapeOf(syntax: string): Shape {
  if (syntax.includes('<port>')) return 'host-port'
  if (syntax.includes('<command-line>')) return 'command-line'
  return syntax.includes('<shell-command>') ? 'command' : 'text'
}

const readArgs: Record<Shape, (address: Address, syntax: string, refuse: Refuse) => ArgPattern[]> = {
  'host-port': readHostsAndPort,
  text: (address, syntax, refuse) => readTexts(address, syntax, refuse),
  command: (address, syntax, refuse) => readTexts(oneText(address, refuse), syntax, refuse, shellBounds),
  'command-line': (address, _, refuse) => {
    const pattern = readCommandPattern(oneText(address, refuse).args[0]!)
    if (pattern) return [pattern]
    throw refuse('its command line is none', `Write e.g. \`${address.keyword}:/usr/bin/uptime\``)
  },
}

function oneText(address: Address, refuse: Refuse): Address {
  if (address.args.length === 1 && address.args[0] !== '') return address
  const { args, keyword } = address
  if (args.length === 0) throw refuse(`${keyword} has an argument`, `Write e.g. \`${keyword}:**\` for any`)
  const why = `it has ${args.length} arguments instead of 1`
  throw refuse(why, 'Write a colon of the command as `\\:`, or the whole of it in double quotes')
}

/** In a scope they are names where they have any, so that nobody gets around a line by a number. */
function refuseNumbers({ options }: Address, refuse: Refuse): void {
  const number = options.find(({ value = '' }) => /^\d+$/.test(value))
  if (number && /^(su|user|setuid|uid|group|setgid|gid)\b/.test(number.name)) {
    throw refuse(`\`${number.name}=${number.value}\` is a number`, 'Write the name of the account')
  }
}

/** Every kind with a port has a scope of hosts and a port: a listener's host is where it is bound. */
function readHostsAndPort({ keyword, args }: Address, syntax: string, refuse: Refuse): ArgPattern[] {
  const wanted = Math.max(2, syntax.split(':').length - 1)
  if (args.length !== wanted) {
    const stars = Array.from({ length: wanted }, () => '*').join(':')
    throw refuse(
      `it has ${args.length} of ${wanted} parts after the keyword`,
      `Write e.g. \`${keyword}:${stars}\``,
    )
  }
  return args.map((arg, at) =>
    at === args.length - 1 ? readPortPattern(arg, refuse) : readHostPattern(arg, refuse),
  )
}

function readTexts(
  { keyword, args }: Address,
  syntax: string,
  refuse: Refuse,
  bounds?: string,
): ArgPattern[] {
  const takesOne = syntax.includes(':')
  if (args.length > 0 && !takesOne) throw refuse(`${keyword} takes no arguments`, `Write \`${keyword}\``)
  if (args.length === 0 && takesOne && !syntax.includes('[')) {
    throw refuse(`${keyword} has an argument`, `Write e.g. \`${keyword}:**\` for any`)
  }
  return args.map(text => ({ is: 'text', literal: !isOpen(text), text, matches: glob(text, bounds) }))
}

function coversKind(pattern: string, scope: string, sense: Sense): boolean {
  const covers = (wider: string, narrower: string) =>
    wider === narrower || (kindOf(narrower)?.covers?.includes(wider) ?? false)
  const keyword = kindOf(scope)?.keyword ?? scope
  return covers(pattern, keyword) || (sense === 'forbid' && covers(keyword, pattern))
}

/**
 * Options that only take something away: a permit need not mention them. A forbid that does speaks of what the address
 * can do: one for reading holds for all but those that only write, and the other way round.
 */
const narrowing: Readonly<Record<string, { readonly unless: string }>> = {
  rdonly: { unless: 'wronly' },
  wronly: { unless: 'rdonly' },
  append: { unless: 'rdonly' },
  // A port cannot be written without being read.
  watch: { unless: '' },
}

/** Options that only add a right: a permit that mentions them covers an address without them too. */
const widening = new Set(['creat', 'unlink-early', 'unlink-late', 'unlink-close'])

function coversOptions(pattern: readonly Option[], scope: readonly Option[], sense: Sense): boolean {
  const fits = (a: Option, b: Option) =>
    a.name === b.name && (a.value === undefined ? b.value === undefined : glob(a.value)(b.value ?? ''))
  const has = (option: Option) => scope.some(other => fits(option, other))
  if (sense === 'forbid') {
    return pattern.every(option => {
      const spared = narrowing[option.name]
      return spared ? !scope.some(({ name }) => name === spared.unless) : has(option)
    })
  }
  if (!pattern.every(option => widening.has(option.name) || has(option))) return false
  return scope.every(other => other.name in narrowing || pattern.some(option => fits(option, other)))
}

interface Asked {
  readonly ip: string | undefined
  readonly sense: Sense
  readonly scope: Address
  /** A proxy's destination: its name never becomes an address here. */
  readonly isBeyond?: boolean
}

function matchArg(arg: ArgPattern, text: string, asked: Asked): Verdict {
  switch (arg.is) {
    case 'anything':
      return 'yes'
    case 'ports': {
      const port = readPort(text)
      return port !== undefined && matchesPort(arg, port) ? 'yes' : 'no'
    }
    case 'network':
      return matchNetwork(arg.cidr, text, asked)
    case 'name':
      return matchesName(arg, text) ? 'yes' : 'no'
    case 'command-line':
      return matchesCommand(arg, text, asked.sense) ? 'yes' : 'no'
    case 'text':
      return matchText(arg, text, asked.sense) ? 'yes' : 'no'
  }
}

function matchNetwork(cidr: Cidr, text: string, { ip, sense, scope, isBeyond }: Asked): Verdict {
  const literal = canonicalIp(text)
  const listens = kindOf(scope.keyword)?.role === 'listen'
  const isEverywhere = text === '*' || (listens && (literal === '0.0.0.0' || literal === '::'))
  if (isEverywhere && sense === 'forbid') return 'yes'
  if (text === '*') return 'no'
  const known = ip ?? literal
  if (known === undefined && isBeyond) return sense === 'forbid' ? 'yes' : 'no'
  if (known === undefined) return 'by-address'
  const carried = sense === 'forbid' ? embeddedIpv4(known) : undefined
  return contains(cidr, known) || (carried !== undefined && contains(cidr, carried)) ? 'yes' : 'no'
}

function matchText(arg: ArgPattern & { is: 'text' }, text: string, sense: Sense): boolean {
  const isExact = arg.matches(text)
  if (sense === 'forbid') return isExact || (text.startsWith('/') && arg.matches(flattened(text)))
  return isExact && (arg.literal || !goesUp(text))
}

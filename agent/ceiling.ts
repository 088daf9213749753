import { realpathSync } from 'node:fs'
import type { Address } from '#relay/address.ts'
import type { EgressPolicy, Endpoint } from '#relay/endpoint.ts'
import { kindOf } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'
import { alwaysDenied, canonicalIp } from '#relay/ip.ts'
import { matches, namesExactly, patternFor, throughLinks } from '#relay/pattern.ts'
import { builtIn, type Rule, type Rules, rule } from './rules.ts'

/**
 * What this host agrees to open. The controller can never widen it. All three throw a RelayError `denied` that names
 * the rule and prints the line that would permit it.
 */
export interface Ceiling extends EgressPolicy {
  checkListen(endpoint: Endpoint): void
  /** Before anything is resolved: what depends on an IP is left to `check`. */
  checkTarget(endpoint: Endpoint): void
  /** Takes effect at the next check; whoever holds open what is no longer permitted has to look again. */
  replace(rules: Rules): void
}

const listeners = ['TCP', 'UDP', 'OPENSSL', 'SOCKS', 'RFC2217'].flatMap(kind =>
  ['127.0.0.0/8', '[::1]', 'localhost'].map(host => `${kind}-LISTEN:${host}:*`),
)
const collectors = ['127.0.0.0/8', '[::1]', 'localhost'].flatMap(host => [
  `UDP-RECV:${host}:*`,
  `UDP-RECVFROM:${host}:*`,
])
const targets = ['TCP', 'UDP', 'UDP-SENDTO', 'UDP-DATAGRAM', 'OPENSSL'].map(kind => `${kind}:*:*`)
const inside = ['HEALTH', 'STATUS', 'PORTS', 'ECHO', 'DISCARD', 'ZERO', 'CHARGEN', 'TIME', 'PIPE', 'BENCH:**']
/** What every host agrees to open unless its owner forbids it. */
export const defaultLines: readonly string[] = [...listeners, ...collectors, ...targets, ...inside]
const defaults = defaultLines.map(text => rule(text, builtIn))

export function openCeiling(rules: Rules): Ceiling {
  let { permit, forbid } = rules

  /** `ip` is absent while a name is not resolved yet; `undecided` is then good enough for a target. */
  function check(scope: Address, ip: string | undefined, role: 'listen' | 'target') {
    checkByHand(scope)
    const early = role === 'target' && ip === undefined
    checkForbidden(scope, ip, early)
    // What is reached on another host the ceiling of that host decides.
    if (scope.host !== undefined) return
    if (role === 'target') checkAlwaysDenied(scope, ip ?? literalIp(scope))
    const permitted = [...permit, ...defaults].some(({ pattern }) => {
      const answer = matches(pattern, scope, ip)
      return answer === 'yes' || (answer === 'by-address' && early)
    })
    if (!permitted) throw notPermitted(scope, ip, role)
  }

  function checkForbidden(scope: Address, ip: string | undefined, early: boolean) {
    const forbidding = forbid.find(({ pattern }) => {
      const answer = matches(pattern, scope, ip, 'forbid')
      return answer === 'yes' || (answer === 'by-address' && !early)
    })
    if (forbidding) throw forbidden(scope, forbidding)
  }

  function checkBeyond(scope: Address) {
    const ip = literalIp(scope)
    checkAlwaysDenied(scope, ip)
    for (const line of forbid) {
      const answer = matches(line.pattern, scope, ip, 'forbid')
      if (answer === 'yes') throw forbidden(scope, line)
      if (answer === 'by-address') throw unknowable(scope, line)
    }
  }

  /** What clients will ask for is judged when they do; but if no line permits any of it, there is no use in waiting. */
  function checkAnyPermitted(scopes: readonly Address[]) {
    const { keyword } = scopes[0]!
    if (!permit.some(({ pattern }) => pattern.keyword === keyword)) throw nothingToAskFor(keyword, scopes)
  }

  function checkAlwaysDenied(scope: Address, ip: string | undefined) {
    const reason = ip === undefined ? undefined : alwaysDenied(ip)
    if (ip === undefined || reason === undefined) return
    const exact = permit.some(
      ({ pattern }) => namesExactly(pattern, ip) && matches(pattern, scope, ip) === 'yes',
    )
    if (!exact) throw reserved(scope, ip, reason)
  }

  /** A half of a dual address that connects is a target, whichever end of the relay it is of. */
  function checkWhole(endpoint: Endpoint, end: 'listen' | 'target') {
    const { scope, listens, reads = [], writes = [], legs = [], halves, goesWhereAsked } = endpoint
    if (halves) {
      for (const half of halves) checkWhole(half, half.dialer ? 'target' : end)
      return
    }
    if (goesWhereAsked) checkAnyPermitted(goesWhereAsked)
    else check(scope, undefined, end)
    for (const leg of legs) {
      if (leg.resolved === 'here') check(leg.scope, undefined, 'target')
      else checkBeyond(leg.scope)
    }
    if (listens) check(listens, undefined, 'listen')
    for (const file of [...reads, ...writes]) check(file, undefined, 'target')
  }

  return {
    check: (address, ip) => check(address, ip, 'target'),
    checkForbidden: address => checkForbidden(address, undefined, true),
    checkLed(address, led) {
      const leads = ({ pattern }: Rule) =>
        matches(pattern, led) === 'yes' ||
        (matches(pattern, address) === 'yes' && matches(throughLinks(pattern, realDirectory), led) === 'yes')
      if (!permit.some(leads)) throw notPermitted(led, undefined, 'target')
    },
    checkBeyond,
    checkListen: endpoint => checkWhole(endpoint, 'listen'),
    checkTarget: endpoint => checkWhole(endpoint, 'target'),
    replace(rules) {
      permit = rules.permit
      forbid = rules.forbid
    },
  }
}

function realDirectory(path: string): string {
  try {
    return realpathSync(path)
  } catch {
    return path
  }
}

/** What belongs to a terminal that an agent does not have is not for its ceiling to permit. */
function checkByHand(scope: Address): void {
  const why = kindOf(scope.keyword)?.byHand
  if (why === undefined) return
  const fix = 'Use it on your own host, with `fleetcat socat`'
  throw new RelayError('denied', { what: nameOf(scope), why, fix })
}

function forbidden(scope: Address, { text, from }: Rule): RelayError {
  return new RelayError('denied', {
    what: nameOf(scope),
    why: `the host's ceiling forbids ${text} (${from})`,
    fix: 'Choose another address, or change that line there',
  })
}

function unknowable(scope: Address, { text, from }: Rule): RelayError {
  return new RelayError('denied', {
    what: nameOf(scope),
    why: `the proxy resolves ${scope.args[0]}, so nobody here can tell whether the host's ceiling forbids it with ${text} (${from})`,
    fix: 'Write its IP address, or resolve it here: with `resolve`, or by SOCKS4',
  })
}

function nothingToAskFor(keyword: string, scopes: readonly Address[]): RelayError {
  return new RelayError('denied', {
    what: keyword,
    why: "the host's ceiling has no place that clients may ask for",
    fix: `Permit them there: ${scopes.map(scope => line(patternFor(scope))).join(', ')}`,
  })
}

function reserved(scope: Address, ip: string, reason: string): RelayError {
  return new RelayError('denied', {
    what: nameOf(scope),
    why: `the host's ceiling has no target at ${ip}: ${reason}`,
    fix: `If it is meant, permit it there by its own address: ${line(patternFor({ ...scope, args: [bracketed(ip), ...scope.args.slice(1)] }))}`,
  })
}

function notPermitted(scope: Address, ip: string | undefined, role: 'listen' | 'target'): RelayError {
  const place = scope.args.join(':')
  const seen = ip === undefined || place.includes(ip) ? '' : ` (${ip})`
  const thing =
    role === 'listen' && place
      ? `listener on ${place}`
      : `${role === 'listen' ? 'listener' : 'target'} ${nameOf(scope)}`
  return new RelayError('denied', {
    what: nameOf(scope),
    why: `the host's ceiling has no ${thing}${seen}`,
    fix: `Permit it there: ${line(patternFor(scope))}${loopback(scope, role)}`,
  })
}

const line = (pattern: string) => `add "${pattern}" under permit: in agent.yaml`

/** Listeners on the network have a harmless sibling that needs no line at all. */
function loopback({ keyword, args }: Address, role: 'listen' | 'target'): string {
  const network = role === 'listen' && /^(TCP|UDP|OPENSSL|SOCKS)[46]?-/.test(keyword) && args.length === 2
  return network ? `, or listen with bind=${keyword.includes('6') ? '[::1]' : '127.0.0.1'}` : ''
}

const nameOf = ({ keyword, args }: Address) => [keyword, ...args].join(':')

const literalIp = ({ args }: Address) => (args[0] === undefined ? undefined : canonicalIp(args[0]))

const bracketed = (ip: string) => (ip.includes(':') ? `[${ip}]` : ip)

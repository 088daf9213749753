import { type Address, parseAddress, parseTarget, shown, type Target } from '../address.ts'
import { checkAsked } from '../asking.ts'
import type { CertificateWish, Endpoint, EndpointKind } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { streamOptions } from '../layers/stream-options.ts'
import { nearest } from '../nearest.ts'
import { privilegeOptions } from '../option-groups.ts'
import { checkOptions, hasOption } from '../options.ts'
import { readPort } from '../ports.ts'
import { checkServedLine, hasLine, withLine } from '../served-line.ts'
import { type AbsentKind, absentKinds } from './absent.ts'
import { aliases } from './aliases.ts'
import { askedKinds } from './asked.ts'
import { benchKinds } from './bench.ts'
import { builtInKinds } from './built-in.ts'
import { copyKinds } from './copy.ts'
import { dialledAgain, isDialledAgain } from './dial-again.ts'
import { joinEndpoints } from './dual.ts'
import { fileKinds } from './files.ts'
import { httpFileKinds } from './http-file.ts'
import { memoryKinds } from './memory.ts'
import { pipeKinds } from './pipe.ts'
import { programKinds } from './program.ts'
import { proxiedKinds } from './proxied.ts'
import { ptyKinds } from './pty.ts'
import { readlineKinds } from './readline.ts'
import { rfc2217Kinds } from './rfc2217.ts'
import { rfc2217ListenKinds } from './rfc2217-listen.ts'
import { serialKinds } from './serial.ts'
import { serialLogKinds } from './serial-log.ts'
import { socksListenKinds } from './socks-listen.ts'
import { stdioKinds } from './stdio.ts'
import { tcpKinds } from './tcp.ts'
import { tlsKinds } from './tls.ts'
import { udpKinds } from './udp.ts'
import { unixKinds } from './unix.ts'
import { bindWithStreamOptions } from './with-stream-options.ts'

export { groupsOf, layered } from './with-stream-options.ts'

/** THE TABLE: every kind of address there is. The grammar, the help, the reference and the tests read it. */
export const kinds: readonly EndpointKind[] = [
  ...tcpKinds,
  ...udpKinds,
  ...tlsKinds,
  ...unixKinds,
  ...proxiedKinds,
  ...ptyKinds,
  ...serialKinds,
  ...serialLogKinds,
  ...rfc2217Kinds,
  ...rfc2217ListenKinds,
  ...socksListenKinds,
  ...askedKinds,
  ...programKinds,
  ...builtInKinds,
  ...benchKinds,
  ...fileKinds,
  ...pipeKinds,
  ...httpFileKinds,
  ...copyKinds,
  ...stdioKinds,
  ...readlineKinds,
  ...memoryKinds,
]

const byName = index(kinds)
const absentByName = index(absentKinds.filter(({ keyword }) => !byName.has(keyword)))

/** The row of a keyword or of one of its aliases, in any letter case; undefined where there is none. */
export function kindOf(keyword: string): EndpointKind | undefined {
  const name = keyword.toUpperCase()
  return byName.get(aliases.get(name) ?? name)
}

/** What is known of a keyword that this build has no row for: of those that socat has, enough to speak of them. */
export function absentKindOf(keyword: string): AbsentKind | undefined {
  return absentByName.get(keyword.toUpperCase())
}

/**
 * Validates an address completely and opens nothing. Throws a RelayError that says what is wrong and what would be
 * right. An address on another host (`@AGENT/…`) is validated likewise; its endpoint carries no dialer and no
 * acceptor, for whoever holds the tunnels dials it.
 */
export function bindAddress(text: string | Address): Endpoint {
  const address = typeof text === 'string' ? parseAddress(text) : text
  const kind = kindOf(address.keyword)
  if (!kind) throw unknownKeyword(address)
  checkOptions(address, [...kind.groups, streamOptions, privilegeOptions], ownersOf)
  const bound = bindWithStreamOptions(kind, address)
  const endpoint = kind.role === 'target' && isDialledAgain(address) ? dialledAgain(bound) : bound
  if (address.host === undefined) return endpoint
  return { address, scope: { ...endpoint.scope, host: address.host } }
}

/** `bindAddress` for the end of a relay that waits for connections. */
export function bindListen(text: string | Address): Endpoint {
  const address = typeof text === 'string' ? parseAddress(text) : text
  const kind = kindOf(address.keyword)
  if (kind?.role === 'target') {
    const family = kind.keyword.replace(/-(CONNECT|CLIENT)$/, '')
    const listener = kindOf(`${family}-LISTEN`) ?? kinds.find(({ role }) => role === 'listen')
    throw misplaced(address, `${kind.keyword} connects; it cannot wait for connections`, {
      fix: listener ? `Start the relay with a listening address, e.g. \`${listener.syntax}\`` : undefined,
    })
  }
  if (address.host !== undefined) {
    throw misplaced(address, 'a relay listens on the agents it is created on', {
      fix: `Leave out \`@${address.host}/\` and add \`--on ${address.host}\``,
    })
  }
  return bindAddress(address)
}

/** `bindAddress` for the end of a relay that is connected to; takes dual addresses `READ!!WRITE` too. */
export function bindTarget(text: string): Endpoint {
  return bindHalves(parseTarget(text), bindTargetAddress)
}

/** One address, or the two of a dual one as one, each bound by `bind`. */
export function bindHalves({ read, write }: Target, bind: (address: Address) => Endpoint): Endpoint {
  return read === write ? bind(read) : joinEndpoints(bind(read), bind(write))
}

/** All addresses of a relay, each by itself and beside the others. Throws as `bindAddress` does. */
export function bindAll({
  listen,
  targets,
  tee = [],
  health,
}: {
  readonly listen: string
  readonly targets: readonly string[]
  readonly tee?: readonly string[] | undefined
  /** If there is any, the targets must be such that it can be checked. */
  readonly health?: object | undefined
}): void {
  const asReached = (target: string) => lineAddress(listen, target) ?? target
  const [listener, bound] = [bindListen(listen), targets.map(target => bindTarget(asReached(target)))]
  checkAsked(listener, bound, tee.map(bindTarget))
  checkServedLine(listener, bound)
  if (health) for (const target of targets) checkCheckable(target)
}

/**
 * What another host is asked for in place of `target` when its line has to come with its bytes, because clients of
 * `listen` set it. Undefined where there is no line to come, or where it is on this host.
 */
export function lineAddress(listen: string, target: string): string | undefined {
  const { read, write } = parseTarget(target)
  const isOne = read === write && read.host !== undefined && hasLine(read)
  return isOne && bindListen(listen).setsLine ? withLine(read) : undefined
}

/** What the addresses of a relay want of the fleet's authority: nothing unless one of them says `cert=auto`. */
export function certificateWishes({
  listen,
  targets,
  tee = [],
}: Pick<Parameters<typeof bindAll>[0], 'listen' | 'targets' | 'tee'>): readonly CertificateWish[] {
  const wishesOf = ({ certificate, halves }: Endpoint): CertificateWish[] => [
    ...(certificate ? [certificate] : []),
    ...(halves ?? []).flatMap(wishesOf),
  ]
  return [bindListen(listen), ...[...targets, ...tee].map(bindTarget)].flatMap(wishesOf)
}

/** Throws a RelayError `usage` for a target that health checks make no sense for. */
export function checkCheckable(target: string): void {
  const { read, write } = parseTarget(target)
  for (const { keyword, text } of [read, write]) {
    const kind = kindOf(keyword)
    if (!kind || kind.checkable) continue
    const checkable = kinds.filter(({ checkable }) => checkable).map(({ keyword }) => keyword)
    throw new RelayError('usage', {
      what: `health checks of \`${shown(text)}\``,
      why: `that ${kind.keyword} can be opened does not show that a server is there`,
      fix: `Leave the checks out. They make sense for ${checkable.join(', ')}`,
    })
  }
}

/**
 * `bindTarget` for what a probe may open: one address, on the host that probes, whose opening does nothing else. With
 * `withinMs`, that is its connect-timeout unless it says one itself: so each address of a name gets its share of it.
 */
export function bindProbed(text: string, withinMs?: number): Endpoint {
  const endpoint = bindTarget(text)
  const { address, halves } = endpoint
  const what = `probe of \`${shown(text)}\``
  if (halves) {
    const why = 'a dual address `READ!!WRITE` has two ends'
    throw new RelayError('usage', { what, why, fix: 'Probe one after the other' })
  }
  if (address.host !== undefined) {
    const why = 'it lies behind another agent, and each agent probes from its own host'
    const fix = `Leave out \`@${address.host}/\`, and choose the agent with --on ${address.host}`
    throw new RelayError('usage', { what, why, fix })
  }
  const kind = kindOf(address.keyword)!
  if (kind.checkable || kind.knockable) {
    const name = 'connect-timeout'
    const isSaid = !hasOption(kind.groups, name) || address.options.some(option => option.name === name)
    if (withinMs === undefined || isSaid) return endpoint
    const option = { name, value: String(withinMs / 1_000), at: address.text.length }
    return bindAddress({ ...address, options: [...address.options, option] })
  }
  const probed = kinds.filter(({ checkable, knockable }) => checkable || knockable)
  throw new RelayError('usage', {
    what,
    why: `that ${kind.keyword} can be opened does not show that a server is there`,
    fix: `Probes make sense for ${probed.map(({ keyword }) => keyword).join(', ')}`,
  })
}

/** Throws a RelayError `usage` for a listener where sources have no IP, or anybody can forge it. */
export function checkProvesSources(listen: string): void {
  const { read, write } = parseTarget(listen)
  for (const { keyword, text } of [read, write]) {
    const kind = kindOf(keyword)
    if (!kind || kind.provesSources) continue
    const proving = kinds.filter(({ provesSources }) => provesSources).map(({ keyword }) => keyword)
    throw new RelayError('usage', {
      what: `automatic bans at \`${shown(text)}\``,
      why: `who comes to ${kind.keyword} has no IP, or anybody can forge it and have others shut out`,
      fix: `Leave the bans out. They make sense for ${proving.join(', ')}`,
    })
  }
}

function bindTargetAddress(address: Address): Endpoint {
  const kind = kindOf(address.keyword)
  if (kind?.role === 'listen') {
    const target = kindOf(kind.keyword.replace(/-LISTEN$/, ''))
    throw misplaced(address, `${kind.keyword} waits for connections; a target is connected to`, {
      fix:
        target && target !== kind
          ? `Write \`${target.syntax}\`, or make it the relay's first address`
          : undefined,
    })
  }
  if (kind?.role === 'target' && isDialledAgain(address)) {
    const why =
      '`fork` makes one connection after the other, and a target is connected to once for each client'
    throw misplaced(address, why, { fix: 'Leave out `fork`' })
  }
  return bindAddress(address)
}

function misplaced({ text }: Address, why: string, { fix }: { fix: string | undefined }): RelayError {
  return new RelayError('usage', { what: `address \`${shown(text)}\``, why, fix })
}

function unknownKeyword({ keyword, args, text }: Address): RelayError {
  const what = `address \`${shown(text)}\``
  const absent = absentKindOf(keyword)
  if (absent) {
    const fix = absent.instead ?? '`fleetcat addresses` lists the kinds that it has'
    return new RelayError('unsupported', {
      what,
      why: `fleetcat does not have the kind ${absent.keyword}`,
      fix,
    })
  }
  const why = `there is no kind of address called \`${keyword}\``
  if (args.length === 1 && readPort(args[0]!) !== undefined && !nearest(keyword, byName.keys())) {
    const fix = `For a TCP connection write \`TCP:${keyword.toLowerCase()}:${args[0]}\``
    return new RelayError('usage', { what, why, fix })
  }
  return new RelayError('usage', { what, why, fix: suggestKeyword(keyword) })
}

/** The advice for a keyword that does not exist. */
export function suggestKeyword(keyword: string): string {
  const near = nearest(keyword, [...byName.keys(), ...absentByName.keys()])
  return near ? `Did you mean \`${near}\`?` : '`fleetcat addresses` lists all kinds'
}

/** The keywords whose kinds have an option of this name and support it. */
function ownersOf(option: string): string[] {
  const has = ({ groups }: EndpointKind) =>
    groups.some(group =>
      Object.values(group.options).some(
        ({ name, aliases, unsupported }) => !unsupported && (name === option || aliases.includes(option)),
      ),
    )
  const absent = [...new Set(absentByName.values())].filter(({ options }) => options?.includes(option))
  return [...kinds.filter(has), ...absent].map(({ keyword }) => keyword)
}

function index<K extends { keyword: string; aliases: readonly string[] }>(
  rows: readonly K[],
): Map<string, K> {
  const rowOf = new Map<string, K>()
  for (const row of rows) {
    for (const name of [row.keyword, ...row.aliases]) {
      const taken = rowOf.get(name)
      if (taken) throw new Error(`${row.keyword} and ${taken.keyword} both claim the keyword ${name}`)
      rowOf.set(name, row)
    }
  }
  return rowOf
}

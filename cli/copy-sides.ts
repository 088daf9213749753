import { basename, join, resolve } from 'node:path'
import { formatAddress } from '#relay/address.ts'
import { usage } from './failure.ts'

/** Where a copy comes from or goes to. */
export interface CopySide {
  /** Absent for this host. */
  readonly agent?: string
  /** The whole path there. */
  readonly path: string
  /** As a person writes it: `@db-1:/srv/in`. */
  readonly text: string
}

export interface CopyOptions {
  readonly exact?: boolean
  readonly resume?: boolean
  readonly dryRun?: boolean
  readonly specialBits?: boolean
}

/** The two sides, and the addresses that are opened for them. */
export interface CopyPlan {
  readonly source: CopySide
  readonly target: CopySide
  readonly sending: string
  readonly receiving: string
}

/** Throws a RelayError `usage` that says what is wrong and what would be right. */
export function planCopy(from: string, to: string, options: CopyOptions): CopyPlan {
  const source = readSide(from)
  const target = readSide(to)
  if (source.agent === undefined && target.agent === undefined) {
    throw usage(
      `cp ${from} ${to}`,
      'both are on this host',
      'Name an agent, as in `@AGENT:/path`, or use cp -a',
    )
  }
  const { exact, resume, dryRun, specialBits } = options
  // Behind a slash stands what is to be in it: its name is the source's, also where it is there already.
  const into = /[^/]\/+$/.test(to)
  const name = basename(source.path)
  if (into && name === '')
    throw usage(`cp ${from} ${to}`, `${from} has no name`, 'Write which name it shall have')
  const named = { exact: exact || into, resume, 'dry-run': dryRun, 'special-bits': specialBits }
  const flags = Object.entries(named).flatMap(([option, is]) => (is ? [{ name: option, at: 0 }] : []))
  const landing = into ? { ...target, path: join(target.path, name) } : target
  return {
    source,
    target: landing,
    sending: addressOf('SEND', source, []),
    receiving: addressOf('RECEIVE', landing, flags),
  }
}

function addressOf(
  keyword: string,
  { agent, path }: CopySide,
  options: { name: string; at: number }[],
): string {
  return formatAddress({ keyword, args: [path], options, ...(agent !== undefined && { host: agent }) })
}

function readSide(text: string): CopySide {
  const [, agent, path] = /^@([^/:]*):(.*)$/s.exec(text) ?? []
  if (agent !== undefined && path !== undefined) return remote(text, agent, path)
  if (text === '') throw usage('cp', 'a path is missing', 'Write `fleetcat cp SRC DST`')
  if (text.startsWith('@')) {
    const [, name = 'AGENT', rest = '/path'] = /^@([^/]+)(\/.*)?$/s.exec(text) ?? []
    // A slash may stand in for the colon, and before the whole path.
    const path = rest.replace(/^\/{2,}/, '/')
    const fix = `Write \`@${name}:${path}\`; for a file of that name on this host, \`./${text}\``
    throw usage(`cp ${text}`, 'behind the agent a colon is missing', fix)
  }
  const [, meant, rest] = /^([a-z0-9][a-z0-9._-]*):(.*)$/is.exec(text) ?? []
  if (meant !== undefined) {
    const fix = `For an agent write \`@${meant}:${rest || '/path'}\`, for a file on this host \`./${text}\``
    throw usage(`cp ${text}`, 'it may be an agent or a file', fix)
  }
  return { path: resolve(text), text }
}

function remote(text: string, agent: string, path: string): CopySide {
  if (!/^[a-z0-9][a-z0-9._-]{0,62}$/i.test(agent)) {
    throw usage(
      `cp ${text}`,
      `\`${agent}\` is no name of an agent`,
      'Write `@AGENT:/path`; see `fleetcat agents`',
    )
  }
  if (!path.startsWith('/')) {
    const why = 'a path on another host has no directory to start from'
    throw usage(`cp ${text}`, why, `Write the whole path: \`@${agent}:/${path}\``)
  }
  return { agent: agent.toLowerCase(), path: resolve(path), text }
}

/** As a person would write this path on that side. */
export const sideText = ({ agent }: CopySide, path: string): string =>
  agent === undefined ? path : `@${agent}:${path}`

import { realpathSync } from 'node:fs'
import { RelayError } from '../errors.ts'
import { findProgram, standardPath } from './find.ts'

/** A program, and as what it is started. */
export interface Launch {
  /** The address, for errors. */
  readonly what: string
  readonly file: string
  /** The PATH of its environment. */
  readonly path: string
  /** Where it starts. */
  readonly directory: string
  /** As the program will see it, its own name first. */
  readonly argv: readonly [name: string, ...words: string[]]
  readonly rights: 'confined' | 'own'
  readonly user?: { readonly uid: number; readonly gid: number; readonly isKnown: boolean } | undefined
  readonly gid?: number | undefined
  readonly umask?: number | undefined
  /** As `prlimit` names them. */
  readonly limits: Readonly<Record<string, number>>
  /** It gets more descriptors than 0, 1 and 2. */
  readonly beyondStdio: boolean
  /** Its standard input becomes the terminal that controls it. */
  readonly ctty: boolean
}

/** What is to be spawned. */
export interface Command {
  readonly file: string
  readonly argv0?: string
  readonly args: readonly string[]
}

/** What an operator writes never becomes part of these. */
const setUmask = 'umask "$0" && exec "$@"'
/** Node ignores two signals, and programs inherit that; to have listened to one makes it ordinary again. */
const setOwnName = `const [file, ...argv] = process.argv.slice(1)
const heard = () => {}
for (const name of ['SIGPIPE', 'SIGXFSZ']) process.on(name, heard).off(name, heard)
process.execve(file, argv, process.env)`

/**
 * The program behind those that prepare its process, each of which becomes the next by `exec`: they cost a millisecond
 * each and leave nothing behind. Throws a RelayError where one is needed that this host does not have.
 */
export function commandFor(launch: Launch): Command {
  const { file, argv, limits, umask, ctty } = launch
  const [shown, ...words] = argv
  const before = [
    ...privileges(launch),
    ...(ctty ? [tool('setsid', 'util-linux', launch), '--ctty'] : []),
    ...resources(limits, launch),
    ...(umask === undefined ? [] : ['/bin/sh', '-c', setUmask, umask.toString(8).padStart(3, '0')]),
  ]
  const [first, ...more] = before
  if (first === undefined) return { file, argv0: shown, args: words }
  return { file: first, args: [...more, ...named(launch)] }
}

/**
 * What ends the chain looks for the program by the name that it hands on. Where that would find another file, Node itself
 * starts it, which can name a program as it likes but takes its time.
 */
function named({ file, argv, path, directory, limits, beyondStdio, what }: Launch): readonly string[] {
  const [shown, ...words] = argv
  if (sameFile(findProgram(shown, path, directory), file)) return argv
  const obstacle = limits.as !== undefined ? '`limit-as`' : beyondStdio ? 'a descriptor above 2' : undefined
  if (obstacle !== undefined) {
    const why = `${obstacle} does not go together with a name that the program does not have in its PATH, \`${shown}\``
    throw new RelayError('unsupported', { what, why, fix: 'Leave out `login`, or the one or the other' })
  }
  return [process.execPath, '--no-warnings', '-e', setOwnName, '--', file, shown, ...words]
}

function sameFile(one: string | undefined, other: string): boolean {
  try {
    return one !== undefined && realpathSync(one) === realpathSync(other)
  } catch {
    return false
  }
}

/**
 * No privilege is kept and none can be gained: that is for the kernel to hold, so `setpriv` asks it to. And the program
 * dies with this process, however that ends.
 */
function privileges(launch: Launch): readonly string[] {
  const isRoot = process.geteuid?.() === 0
  const accounts = identity(launch, isRoot)
  if (launch.rights === 'own') {
    return accounts.length === 0 ? [] : [tool('setpriv', 'util-linux', launch), ...accounts, '--']
  }
  return [
    tool('setpriv', 'util-linux', launch),
    '--no-new-privs',
    '--inh-caps=-all',
    '--ambient-caps=-all',
    // Without privileges it cannot be emptied, and what it would grant no program can gain any more.
    ...(isRoot ? ['--bounding-set=-all'] : []),
    ...accounts,
    '--pdeathsig=KILL',
    '--',
  ]
}

function identity({ user, gid, rights, what }: Launch, isRoot: boolean): readonly string[] {
  if (!isRoot) {
    const isOurs = (user?.uid ?? process.geteuid?.()) === process.geteuid?.()
    const isOurGroup = (gid ?? user?.gid ?? process.getegid?.()) === process.getegid?.()
    if (isOurs && isOurGroup) return []
    const why = 'only a process of root can start programs as somebody else'
    throw new RelayError('denied', {
      what,
      why,
      fix: 'Leave out `user` and `group`, or start the agent as root',
    })
  }
  const group = gid ?? user?.gid
  const groups = user?.isKnown ? '--init-groups' : '--clear-groups'
  if (!user && gid === undefined) return rights === 'own' ? [] : ['--clear-groups']
  return [
    ...(user ? [`--reuid=${user.uid}`] : []),
    ...(group === undefined ? [] : [`--regid=${group}`]),
    groups,
  ]
}

function resources(limits: Launch['limits'], launch: Launch): readonly string[] {
  const named = Object.entries(limits).map(([name, value]) => `--${name}=${value}:${value}`)
  return named.length === 0 ? [] : [tool('prlimit', 'util-linux', launch), ...named]
}

/** Looked for where the system keeps its own, whatever the address says. */
function tool(name: string, from: string, { what, rights }: Launch): string {
  const found = findProgram(name, standardPath, '/')
  if (found !== undefined) return found
  const why =
    rights === 'confined'
      ? `this host has no \`${name}\`, without which the program would keep the rights of this process`
      : `this host has no \`${name}\``
  throw new RelayError('unsupported', { what, why, fix: `Install ${from}` })
}

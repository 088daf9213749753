import { realpathSync } from 'node:fs'
import { basename } from 'node:path'
import type { Address } from '../address.ts'
import type { Channel, OpenContext } from '../endpoint.ts'
import { accountOf, groupOf, unknownAccount } from '../endpoints/accounts.ts'
import { RelayError } from '../errors.ts'
import type { OptionValues } from '../options.ts'
import { joinCommandLine } from './command-line.ts'
import { environmentOf } from './environment.ts'
import { checkStartable, findProgram, standardPath } from './find.ts'
import { newMark } from './guardian.ts'
import { commandFor, type Launch } from './launch.ts'
import { defaultPolicy, type ProgramPolicy } from './policy.ts'
import { markName } from './processes.ts'
import type { programGroups } from './program-options.ts'
import { scopeOf } from './scope.ts'
import { startProgram } from './start.ts'
import { toldOf } from './told.ts'
import { pipeWiring, socketWiring, terminalWiring } from './wiring.ts'

/** A program with its words, or a command for a shell; that of the user if it is not said which. */
export type Program =
  | { readonly is: 'words'; readonly program: string; readonly words: readonly string[] }
  | { readonly is: 'shell'; readonly shell: string | undefined; readonly command: string }

export type ProgramOptions = OptionValues<typeof programGroups>

export interface ProgramTarget {
  readonly keyword: string
  readonly program: Program
  readonly options: ProgramOptions
  readonly host: string | undefined
}

/** Starts the program. Rejects with a RelayError, and then nothing of it runs. */
export async function dialProgram(target: ProgramTarget, cx: OpenContext): Promise<Channel> {
  // The program may have come, gone or moved since the address was bound.
  const scope = scopeOf(target)
  const what = scope.text
  if (cx.signal.aborted) throw RelayError.from(cx.signal.reason, what)
  cx.egress.check(scope)
  const { options } = target
  const { programs: policy = defaultPolicy } = cx
  checkPolicy(options, policy, what)
  const launch = launchOf(target, policy, what)
  checkOtherName(scope, launch, cx)
  const { fdin = 0, fdout = 1, pty = false, setsid = false, ctty = false } = options
  checkUsed(options, cx.uses, what)
  const isConfined = policy.rights === 'confined'
  const mark = newMark()
  const start = {
    what,
    command: commandFor(launch),
    directory: launch.directory,
    environment: environmentFor(target, policy, mark, cx),
    mark,
    policy,
    fdin,
    fdout,
    mergesErrors: options.stderr ?? pty,
    ownSession: (isConfined || setsid) && !ctty,
    toolMakesSession: ctty,
    uses: cx.uses,
    passesOn: signalsOf(options),
    stays: options.endClose ?? false,
  }
  const wiring = await (pty
    ? terminalWiring(what, options)
    : options.pipes
      ? pipeWiring(what)
      : socketWiring(what))
  const channel = await startProgram(start, wiring, cx)
  if (!cx.signal.aborted) return channel
  const reason = RelayError.from(cx.signal.reason, what)
  channel.abort(reason)
  await channel[Symbol.asyncDispose]()
  throw reason
}

function launchOf(target: ProgramTarget, policy: ProgramPolicy, what: string): Launch {
  const { options, program } = target
  const { rights } = policy
  const path = options.path ?? (rights === 'own' ? process.env.PATH : undefined) ?? standardPath
  const account = options.user === undefined ? undefined : accountOf(options.user)
  if (options.user !== undefined && !account && !/^\d+$/.test(options.user)) {
    throw unknownAccount('user', options.user, what)
  }
  const group = options.group === undefined ? undefined : groupOf(options.group)
  if (options.group !== undefined && !group && !/^\d+$/.test(options.group)) {
    throw unknownAccount('group', options.group, what)
  }
  const gid = options.group === undefined ? undefined : (group?.gid ?? Number(options.group))
  if (options.user !== undefined && !account && gid === undefined) {
    const why = `the user ${options.user} has no name, and so no group`
    throw new RelayError('not-found', { what, why, fix: 'Write `group=` too' })
  }
  const name = program.is === 'words' ? program.program : shellOf(target, policy)
  const directory = directoryOf(options, policy)
  const found = findProgram(name, path, directory)
  const file = checkStartable(found, name, path, what)
  const words = program.is === 'words' ? program.words : ['-c', program.command]
  // A shell is called by its name alone, a program as it is written.
  const shown = program.is === 'words' ? name : basename(name)
  return {
    what,
    file,
    path,
    directory,
    argv: [`${options.login ? '-' : ''}${shown}`, ...words],
    rights,
    user:
      options.user === undefined
        ? undefined
        : {
            uid: account?.uid ?? Number(options.user),
            gid: account?.gid ?? gid!,
            isKnown: account !== undefined,
          },
    gid,
    umask: options.umask,
    limits: limitsOf(options),
    beyondStdio: (options.fdin ?? 0) > 2 || (options.fdout ?? 1) > 2,
    ctty: options.ctty ?? false,
  }
}

function shellOf({ program, options }: ProgramTarget, { rights }: ProgramPolicy): string {
  if (program.is === 'shell' && program.shell !== undefined) return program.shell
  if (options.shell !== undefined) return options.shell
  const account = accountOf(options.user ?? String(process.getuid?.()))
  const theirs = rights === 'own' && options.user === undefined ? process.env.SHELL : account?.shell
  return theirs || '/bin/sh'
}

function limitsOf(options: ProgramOptions): Record<string, number> {
  const { limitCpu, limitMemory, limitFileSize, limitCore, limitFiles, limitProcesses } = options
  const limits = {
    cpu: limitCpu === undefined ? undefined : limitCpu / 1_000,
    as: limitMemory,
    fsize: limitFileSize,
    core: limitCore,
    nofile: limitFiles,
    nproc: limitProcesses,
  }
  return Object.fromEntries(
    Object.entries(limits).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  )
}

/** Confined programs start where no file of ours is. */
function directoryOf({ chdir }: ProgramOptions, { rights }: ProgramPolicy): string {
  return chdir ?? (rights === 'own' ? process.cwd() : '/')
}

function environmentFor(
  { options }: ProgramTarget,
  { rights, version, prefix }: ProgramPolicy,
  mark: string,
  { client }: OpenContext,
): Record<string, string> {
  const { path, env: variables = [], user, pty: terminal = false } = options
  const account = user === undefined ? undefined : accountOf(user)
  const told = { ...toldOf(client, version, prefix), [markName]: mark }
  return environmentOf({ rights, account, path, variables, terminal, told })
}

function signalsOf({ sighup, sigint, sigquit }: ProgramOptions): NodeJS.Signals[] {
  return [
    ...(sighup ? ['SIGHUP' as const] : []),
    ...(sigint ? ['SIGINT' as const] : []),
    ...(sigquit ? ['SIGQUIT' as const] : []),
  ]
}

/** What only makes sense where somebody sits in front of the relay. */
function checkPolicy(options: ProgramOptions, { rights }: ProgramPolicy, what: string): void {
  if (rights === 'own') return
  const [signal] = signalsOf(options)
  if (signal !== undefined) {
    const why = `an agent takes ${signal} for itself`
    throw new RelayError('unsupported', { what, why, fix: `Leave out \`${signal.toLowerCase()}\`` })
  }
  if (options.endClose) {
    const why = 'a program that outlives its connection could not be revoked any more'
    throw new RelayError('unsupported', {
      what,
      why,
      fix: 'Leave out `end-close`, or let the host start it as a service',
    })
  }
}

/** What the ceiling forbids stays forbidden under every name that links give it. */
function checkOtherName(scope: Address, { file, argv: [, ...words] }: Launch, { egress }: OpenContext): void {
  if (scope.keyword !== 'EXEC') return
  const real = realpathSync(file)
  if (real === file) return
  egress.checkForbidden?.({ ...scope, args: [joinCommandLine([real, ...words])] })
}

/** A descriptor that is named is one that somebody means to use. */
function checkUsed({ fdin, fdout }: ProgramTarget['options'], uses: OpenContext['uses'], what: string): void {
  const [name, why] =
    uses === 'write' && fdout !== undefined
      ? ['fdout', 'the program is only written to here']
      : uses === 'read' && fdin !== undefined
        ? ['fdin', 'the program is only read here']
        : []
  if (name === undefined) return
  throw new RelayError('usage', { what: `${what}: option \`${name}\``, why, fix: 'Leave it out' })
}

import { type Address, formatAddress, type Option } from '../address.ts'
import { accountOf, groupOf } from '../endpoints/accounts.ts'
import { joinCommandLine } from './command-line.ts'
import type { ProgramTarget } from './dial.ts'
import { writeVariables } from './environment.ts'
import { findProgram, standardPath } from './find.ts'

/**
 * The address as the ceiling sees it: a program by its whole path, and all that gives it more than its words do. A
 * program that is nowhere keeps its name.
 */
export function scopeOf({ keyword, program, options, host }: ProgramTarget): Address {
  const { path = standardPath, chdir = '/' } = options
  const text =
    program.is === 'shell'
      ? program.command
      : joinCommandLine([findProgram(program.program, path, chdir) ?? program.program, ...program.words])
  const { user, group, env, shell, umask } = options
  const given = {
    user: user && (accountOf(user)?.name ?? user),
    group: group && (groupOf(group)?.name ?? group),
    chdir: options.chdir,
    umask: umask?.toString(8).padStart(3, '0'),
    path: options.path,
    env: env && writeVariables(env),
    shell,
  }
  const widening: Option[] = Object.entries(given).flatMap(([name, value]) =>
    value === undefined ? [] : [{ name, value, at: 0 }],
  )
  const named = { keyword, args: [text], options: widening }
  return { ...named, ...(host !== undefined && { host }), text: formatAddress(named) }
}

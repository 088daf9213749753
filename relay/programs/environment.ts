import { homedir } from 'node:os'
import { type Account, accountOf } from '../endpoints/accounts.ts'
import type { Reading } from '../options.ts'
import { standardPath } from './find.ts'

/** Variables by name; without a value: that of this process. */
export type Variables = readonly (readonly [name: string, value: string | undefined])[]

/**
 * What the loader, the C library and Node obey before a program begins, and with it whatever drops privileges for the
 * program: such a variable would act with the rights of this process.
 */
const loaders = /^(LD_.*|GLIBC_TUNABLES|GCONV_PATH|LOCPATH|NLSPATH|MALLOC_.*|NODE_.*|BASH_ENV|ENV)$/

/** `LANG;TZ=Europe/Berlin`. */
export function readVariables(text: string): Reading<Variables> {
  const variables = new Map<string, string | undefined>()
  for (const part of text.split(';').filter(each => each !== '')) {
    const [, name = '', value] = /^([^=]*)(?:=(.*))?$/s.exec(part) ?? []
    const write = 'e.g. `env=LANG;TZ=UTC`'
    if (!/^[a-z_][a-z0-9_]*$/i.test(name)) return { problem: `\`${name}\` is no name of a variable`, write }
    if (loaders.test(name)) {
      const problem = `${name} would be obeyed before the program has given up the rights of this process`
      return { problem, write: 'it into a script that starts the program' }
    }
    if (variables.has(name)) return { problem: `${name} is there twice`, write }
    variables.set(name, value)
  }
  return { value: [...variables].sort(([a], [b]) => (a < b ? -1 : 1)) }
}

export function writeVariables(variables: Variables): string {
  return variables.map(([name, value]) => (value === undefined ? name : `${name}=${value}`)).join(';')
}

export interface EnvironmentParts {
  readonly rights: 'confined' | 'own'
  /** Whose it shall be; that of this process if absent. */
  readonly account: Account | undefined
  readonly path: string | undefined
  readonly variables: Variables
  readonly terminal: boolean
  /** What it is told of its client and of fleetcat. */
  readonly told: Readonly<Record<string, string>>
}

/** Never what this process has in its own environment, unless it runs for nobody but its user. */
export function environmentOf(parts: EnvironmentParts): Record<string, string> {
  const { rights, account, path, variables, told } = parts
  const base = rights === 'own' ? { ...process.env, ...(account && ofAccount(account)) } : minimal(parts)
  const environment: NodeJS.ProcessEnv = { ...base, ...(path !== undefined && { PATH: path }), ...told }
  for (const [name, value = process.env[name]] of variables) {
    if (value !== undefined) environment[name] = value
  }
  return environment as Record<string, string>
}

function minimal({ account, terminal }: EnvironmentParts): Record<string, string> {
  const languages = Object.entries(process.env).filter(([name]) => /^(LANG|LC_[A-Z]+)$/.test(name))
  return {
    PATH: standardPath,
    ...ofAccount(account ?? ourAccount()),
    ...(Object.fromEntries(languages) as Record<string, string>),
    ...(terminal && { TERM: process.env.TERM ?? 'xterm' }),
  }
}

function ofAccount({ name, home, shell }: Account): Record<string, string> {
  return { HOME: home, USER: name, LOGNAME: name, SHELL: shell }
}

/** A number without a name is no user to the system. */
function ourAccount(): Account {
  const uid = process.getuid?.() ?? 0
  const known = accountOf(String(uid))
  return known ?? { name: String(uid), uid, gid: process.getgid?.() ?? 0, home: homedir(), shell: '/bin/sh' }
}

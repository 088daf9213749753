import { rm } from 'node:fs/promises'
import { RelayError } from '#relay/errors.ts'
import { nearest } from '#relay/nearest.ts'
import { type Config, type Context, identityDir, readConfig, writeConfig } from './config.ts'

/**
 * The context that a command works in: the one asked for, FLEETCAT_CONTEXT's, or the current one. Where there is none
 * nobody has been asked, and no script shall take that for "there is no such relay".
 */
export async function chosenContext(asked: string | undefined): Promise<Context> {
  const config = await readConfig()
  const name = asked ?? (process.env.FLEETCAT_CONTEXT || config.current)
  if (name === undefined) {
    throw new RelayError('unavailable', {
      what: 'no fleet to talk to',
      why: config.contexts.length > 0 ? 'no context is the current one' : 'nobody has logged in here yet',
      fix:
        config.contexts.length > 0
          ? 'Choose one: fleetcat contexts use NAME'
          : 'Run `fleetcat up` to start one here, or `fleetcat login TOKEN` to join one',
    })
  }
  return find(config, name, 'unavailable')
}

function find(config: Config, name: string, code: 'not-found' | 'unavailable' = 'not-found'): Context {
  const found = config.contexts.find(context => context.name === name)
  if (found) return found
  const names = config.contexts.map(context => context.name)
  const near = nearest(name, names)
  throw new RelayError(code, {
    what: `context ${name}`,
    why: 'there is none of that name',
    fix: near
      ? `Did you mean ${near}?`
      : `There ${names.length === 1 ? 'is' : 'are'}: ${names.join(', ') || 'none'}`,
  })
}

/** Remembers a context, in place of one of the same name. It becomes the current one if `current` says so. */
export async function rememberContext(context: Context, { current }: { current: boolean }): Promise<void> {
  const before = await readConfig()
  const others = before.contexts.filter(({ name }) => name !== context.name)
  const now = current ? context.name : before.current
  await writeConfig({ ...(now !== undefined && { current: now }), contexts: [...others, context] })
}

export async function useContext(name: string): Promise<void> {
  const config = await readConfig()
  await writeConfig({ ...config, current: find(config, name).name })
}

/** Forgets a context together with its key and certificate. */
export async function forgetContext(name: string): Promise<void> {
  const config = await readConfig()
  const { name: found } = find(config, name)
  await rm(identityDir(found), { recursive: true, force: true })
  const { current, contexts } = config
  await writeConfig({
    ...(current !== undefined && current !== found && { current }),
    contexts: contexts.filter(context => context.name !== found),
  })
}

/** The name to remember an operator of a cluster under: the one it has already, else the first that is free. */
export function freeName(
  config: Config,
  { cluster, operator }: Pick<Context, 'cluster' | 'operator'>,
): string {
  const known = config.contexts.find(each => each.cluster === cluster && each.operator === operator)
  if (known) return known.name
  const taken = new Set(config.contexts.map(({ name }) => name))
  const base = cluster.slice(0, 40)
  for (const name of [base, `${base}-${operator}`.slice(0, 60)]) if (!taken.has(name)) return name
  for (let n = 2; ; n++) if (!taken.has(`${base}-${n}`)) return `${base}-${n}`
}

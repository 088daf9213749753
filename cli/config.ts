import { randomBytes } from 'node:crypto'
import { chmod, mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { RelayError } from '#relay/errors.ts'
import { parseHostPort } from '#wire/host-port.ts'
import { fleetcatHome } from './home.ts'

/** One fleet, and who this user is there. */
export interface Context {
  readonly name: string
  readonly cluster: string
  /** Where its controllers answer, as HOST:PORT; tried in order. */
  readonly addresses: readonly string[]
  readonly operator: string
  /** The agent that `up` runs beside the controller, for `status` to wait for. */
  readonly localAgent?: string
}

export interface Config {
  readonly current?: string
  readonly contexts: readonly Context[]
}

const configFile = () => join(fleetcatHome(), 'config.yaml')
export const identityDir = (context: string) => join(fleetcatHome(), 'contexts', context)

/** What config.yaml says; nothing at all if there is none yet. */
export async function readConfig(): Promise<Config> {
  const file = configFile()
  try {
    return checked(await parse(await readFile(file, 'utf8'), file), file)
  } catch (thrown) {
    if (thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT') return { contexts: [] }
    throw RelayError.from(thrown, `configuration ${file}`)
  }
}

/**
 * We write the file as JSON, which is YAML too: each command reads it, and loading a YAML parser for that would cost
 * more than all else in this folder. A person may write it as they like.
 */
async function parse(text: string, file: string): Promise<unknown> {
  try {
    return JSON.parse(text)
  } catch {
    const { parseDocument } = await import('yaml')
    const document = parseDocument(text, { prettyErrors: false })
    const [broken] = document.errors
    if (!broken) return document.toJS() ?? {}
    const line = text.slice(0, broken.pos[0]).split('\n').length
    throw damaged(file, `line ${line} is neither JSON nor YAML: ${broken.message}`)
  }
}

const damaged = (file: string, why: string) =>
  new RelayError('usage', {
    what: `configuration ${file}`,
    why,
    fix: 'Correct it; or remove it, and start `fleetcat up` again or log in with a new token',
  })

function checked(value: unknown, file: string): Config {
  const refuse = (why: string) => damaged(file, why)
  if (!isObject(value)) throw refuse('it is not a list of contexts')
  const { current, contexts = [] } = value
  if (current !== undefined && typeof current !== 'string') throw refuse('`current` is not a name')
  if (!Array.isArray(contexts)) throw refuse('`contexts` is not a list')
  return {
    ...(current !== undefined && { current }),
    contexts: contexts.map((given: unknown, i) => {
      if (!isContext(given)) {
        throw refuse(
          `context ${i + 1} lacks name, cluster, addresses or operator, or has a name that is no file name`,
        )
      }
      for (const address of given.addresses) {
        if (!isHostPort(address))
          throw refuse(`address \`${address}\` of context ${given.name} is not HOST:PORT`)
      }
      return given
    }),
  }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

function isContext(value: unknown): value is Context {
  if (!isObject(value)) return false
  const { name, cluster, addresses, operator, localAgent } = value
  return (
    typeof name === 'string' &&
    isContextName(name) &&
    typeof cluster === 'string' &&
    typeof operator === 'string' &&
    (localAgent === undefined || typeof localAgent === 'string') &&
    Array.isArray(addresses) &&
    addresses.length > 0 &&
    addresses.every(address => typeof address === 'string')
  )
}

function isHostPort(address: string): boolean {
  try {
    parseHostPort(address, { what: '', fix: '' })
    return true
  } catch {
    return false
  }
}

/** A context's name is a directory's name too. */
export const isContextName = (name: string): boolean => /^[a-z0-9][a-z0-9._-]{0,62}$/i.test(name)

/** Readers see the old file or the new one, whole, and nobody else sees either. */
export async function writeConfig(config: Config): Promise<void> {
  const dir = fleetcatHome()
  await mkdir(dir, { recursive: true, mode: 0o700 })
  await chmod(dir, 0o700)
  const fresh = `${configFile()}.${randomBytes(6).toString('hex')}`
  try {
    await using file = await open(fresh, 'wx', 0o600)
    await file.writeFile(`${JSON.stringify(config, null, 2)}\n`)
    await file.sync()
    await rename(fresh, configFile())
  } catch (thrown) {
    await rm(fresh, { force: true })
    throw RelayError.from(thrown, `configuration ${configFile()}`)
  }
}

import { readFile } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import { RelayError } from '#relay/errors.ts'
import { usage } from './failure.ts'

/** A token from where it was put: the argument, a file, stdin as `-`, or the environment; undefined if nowhere. */
export async function readToken(
  what: string,
  argument: string | undefined,
  file: string | undefined,
): Promise<string | undefined> {
  if (argument !== undefined && file !== undefined) {
    throw usage(what, 'two tokens are given', 'Keep the argument or the file')
  }
  const found =
    argument === '-' || file === '-' ? await text(process.stdin) : (argument ?? (await fromFile(file)))
  const token = (found ?? process.env.FLEETCAT_TOKEN)?.trim()
  // What we start must not inherit it.
  delete process.env.FLEETCAT_TOKEN
  return token || undefined
}

async function fromFile(path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined
  try {
    return await readFile(path, 'utf8')
  } catch (thrown) {
    throw RelayError.from(thrown, `--token-file ${path}`)
  }
}

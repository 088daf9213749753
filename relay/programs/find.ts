import { accessSync, constants, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { RelayError } from '../errors.ts'

/** Where confined programs are looked for, and what they find there in turn. */
export const standardPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** Where the program is, by its name or path; undefined if it is nowhere. Links are left as they are. */
export function findProgram(name: string, path: string, directory: string): string | undefined {
  if (name.includes('/')) return resolve(directory, name)
  return path
    .split(':')
    .map(folder => join(resolve(directory, folder || '.'), name))
    .find(isExecutable)
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return statSync(file).isFile()
  } catch {
    return false
  }
}

/** Throws a RelayError that says why this cannot be started, as far as its own user can tell. */
export function checkStartable(file: string | undefined, name: string, path: string, what: string): string {
  if (file === undefined) {
    const why = `there is no program \`${name}\` in ${path}`
    throw new RelayError('not-found', { what, why, fix: 'Write its whole path, from `/`' })
  }
  try {
    if (statSync(file).isDirectory()) {
      throw new RelayError('usage', { what, why: `${file} is a directory`, fix: 'Name a program in it' })
    }
    accessSync(file, constants.X_OK)
  } catch (error) {
    throw explained(error, file, name, what)
  }
  return file
}

function explained(error: unknown, file: string, name: string, what: string): RelayError {
  const { code } = error as NodeJS.ErrnoException
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    const fix = name.startsWith('/')
      ? 'Correct the path, or install it'
      : 'Did you mean an absolute path? Write it from `/`'
    return new RelayError('not-found', { what, why: `there is no file ${file}`, fix, cause: error })
  }
  if (code === 'EACCES') {
    const why = `${file} is not executable for the user of this process`
    return new RelayError('denied', { what, why, fix: `Run \`chmod +x ${file}\``, cause: error })
  }
  return RelayError.from(error, what)
}

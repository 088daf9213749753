import { isatty } from 'node:tty'
import { loadLibc } from '../native/libc.ts'
import { applyTermios, type TermiosOptions } from './apply-termios.ts'
import { readTermios, writeTermios } from './termios.ts'

/**
 * Sets the terminals among these descriptors, which belong to somebody else too, as the options say; the function that
 * it resolves with sets them back. Rejects with a RelayError where none of them is a terminal.
 */
export async function setForAWhile(
  descriptors: readonly number[],
  options: TermiosOptions,
  what: string,
): Promise<() => void> {
  if (Object.keys(options).length === 0) return () => {}
  const terminals = descriptors.filter(fd => isatty(fd))
  const libc = await loadLibc(what)
  const before = terminals.map(fd => readTermios(libc, fd))
  const restore = () => {
    for (const [at, fd] of terminals.entries()) writeTermios(libc, fd, before[at]!)
  }
  try {
    for (const fd of terminals.length > 0 ? terminals : descriptors) await applyTermios(fd, options, what)
  } catch (error) {
    restore()
    throw error
  }
  return restore
}

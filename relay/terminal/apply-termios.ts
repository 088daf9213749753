import { RelayError } from '../errors.ts'
import { loadLibc } from '../native/libc.ts'
import type { OptionValues } from '../options.ts'
import { readTermios, type Termios, writeTermios } from './termios.ts'
import { type TermiosChange, termiosOptions } from './termios-options.ts'

export type TermiosOptions = OptionValues<readonly [typeof termiosOptions]>

/**
 * Sets a terminal as the options say, in the order in which they were written; other options may be among them. `fd` is
 * the terminal, or the master of one. Rejects with a RelayError `unsupported` that names an option which the terminal
 * does not keep: the kernel drops those without a word.
 */
export async function applyTermios(fd: number, options: TermiosOptions, what = 'a terminal'): Promise<void> {
  if (!Object.entries(options).some(isOfTermios)) return
  const libc = await loadLibc(what)
  try {
    const wanted = readTermios(libc, fd)
    changeTermios(wanted, options)
    writeTermios(libc, fd, wanted)
    checkKept(options, wanted, readTermios(libc, fd), what)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOTTY') throw RelayError.from(error, what)
    const fix = 'Leave its terminal options out'
    throw new RelayError('unsupported', { what, why: 'it is no terminal', fix, cause: error })
  }
}

/** Does to the settings what the options say, in their order. */
export function changeTermios(settings: Termios, options: TermiosOptions): void {
  for (const [, change] of Object.entries(options).filter(isOfTermios)) change(settings)
}

/** Throws a RelayError `unsupported` for the first option that a terminal has not kept: `now` is what it has of `wanted`. */
export function checkKept(options: TermiosOptions, wanted: Termios, now: Termios, what: string): void {
  if (same(now, wanted)) return
  const changes = Object.entries(options).filter(isOfTermios)
  const lost = changes.find(([, change]) => holds(wanted, change) && !holds(now, change))
  if (lost) throw notKept(termiosOptions.options[lost[0]]!.name, what)
}

function isOfTermios(entry: [string, unknown]): entry is [`termios:${string}`, TermiosChange] {
  return entry[0].startsWith('termios:')
}

/** Would the change change nothing? A later option may have taken an earlier one back. */
function holds(settings: Termios, change: TermiosChange): boolean {
  const changed = { ...settings, characters: Buffer.from(settings.characters) }
  change(changed)
  return same(settings, changed)
}

/** Devices come as near to a speed as their clock lets them. */
function same(a: Termios, b: Termios): boolean {
  const near = (one: number, other: number) => Math.abs(one - other) <= other * 0.03
  return (
    a.iflag >>> 0 === b.iflag >>> 0 &&
    a.oflag >>> 0 === b.oflag >>> 0 &&
    a.cflag >>> 0 === b.cflag >>> 0 &&
    a.lflag >>> 0 === b.lflag >>> 0 &&
    a.characters.equals(b.characters) &&
    near(a.inputSpeed, b.inputSpeed) &&
    near(a.outputSpeed, b.outputSpeed)
  )
}

function notKept(option: string, what: string): RelayError {
  return new RelayError('unsupported', {
    what,
    why: `this terminal does not keep \`${option}\``,
    fix: 'Leave it out: a pseudo-terminal has no line whose bits could be counted',
  })
}

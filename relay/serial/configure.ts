import { RelayError } from '../errors.ts'
import type { Libc } from '../native/libc.ts'
import { changeTermios, checkKept, type TermiosOptions } from '../terminal/apply-termios.ts'
import { readTermios, type Termios, writeTermiosInThread } from '../terminal/termios.ts'
import { checkLine, differing, lineOf, withLine } from './line-settings.ts'
import type { LineSettings } from './port.ts'

const CREAD = 0o200
const CLOCAL = 0o4000
const HUPCL = 0o2000
const IXANY_IXON_IXOFF = 0o16000

/**
 * Bytes pass as they are; the line is as the device has it, but for what is wanted. Answers whether closing it is to lower
 * the control lines. Rejects with a RelayError `unsupported` for what the device does not keep.
 */
export async function configure(
  libc: Libc,
  fd: number,
  before: Termios,
  {
    settings: wanted = {},
    terminal = {},
  }: { readonly settings?: LineSettings; readonly terminal?: TermiosOptions },
  what: string,
): Promise<boolean> {
  const characters = Buffer.from(before.characters)
  characters[5] = 0
  characters[6] = 1
  const plain: Termios = {
    ...before,
    iflag: before.iflag & IXANY_IXON_IXOFF,
    oflag: 0,
    lflag: 0,
    cflag: (before.cflag | CREAD | CLOCAL) & ~HUPCL,
    characters,
    outputSpeed: before.outputSpeed || 9_600,
    inputSpeed: before.inputSpeed || 9_600,
  }
  const next = withLine(plain, wanted)
  changeTermios(next, terminal)
  checkLine({ stop: wanted.stop ?? 1 }, what, lineOf(next))
  await writeLine(libc, fd, next, wanted, what)
  const now = readTermios(libc, fd)
  const [lost] = differing(lineOf(now), wanted)
  if (lost !== undefined) throw notKept(lost, wanted[lost], what)
  checkKept(terminal, next, now, what)
  return (next.cflag & HUPCL) !== 0
}

/** `wanted` is what of it was asked for, for the error where the device refuses it. */
export async function writeLine(
  libc: Libc,
  fd: number,
  next: Termios,
  wanted: LineSettings,
  what: string,
): Promise<void> {
  try {
    await writeTermiosInThread(libc, fd, next)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EINVAL') throw error
    const names = Object.entries(wanted).map(([name, value]) => `\`${name}=${value}\``)
    const why = `the device does not take ${names.join(', ') || 'these settings'}`
    const fix = 'Leave it out, or choose what the device can'
    throw new RelayError('unsupported', { what, why, fix, cause: error })
  }
}

function notKept(name: string, value: unknown, what: string): RelayError {
  return new RelayError('unsupported', {
    what,
    why: `this device does not keep \`${name}=${value}\``,
    fix: 'Leave it out, or choose what the device can',
  })
}

/** As it was found, but for what closing it does to the control lines. */
export async function restore(libc: Libc, fd: number, before: Termios, hangUp: boolean): Promise<void> {
  const cflag = hangUp ? before.cflag | HUPCL : before.cflag & ~HUPCL
  await writeTermiosInThread(libc, fd, { ...before, cflag })
}

import { closeSync, constants } from 'node:fs'
import { RelayError } from '../errors.ts'
import { type Libc, loadLibc } from '../native/libc.ts'

const { O_RDWR, O_NOCTTY, O_NONBLOCK } = constants
/** Node does not name it. */
export const O_CLOEXEC = 0o2000000

const TIOCGPTN = 0x80045430

/** A new pseudo-terminal. Whoever opens it closes `master`, or gives it to `terminalStream`. */
export interface Pty {
  /** The descriptor of our end. It never blocks, and no child inherits it. */
  readonly master: number
  /** What programs open as their terminal: `/dev/pts/7`. */
  readonly slavePath: string
}

/** What programs open as their terminal, of which this is the other end. */
export function slavePathOf(libc: Libc, master: number): string {
  const number = Buffer.alloc(4)
  libc.ioctl(master, TIOCGPTN, number)
  return `/dev/pts/${number.readInt32LE()}`
}

/** Rejects with a RelayError that says `what` needed it, and then holds nothing. */
export async function openPty(what = 'a pseudo-terminal'): Promise<Pty> {
  const libc = await loadLibc(what)
  let master: number | undefined
  try {
    master = libc.posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC)
    libc.grantpt(master)
    libc.unlockpt(master)
    return { master, slavePath: slavePathOf(libc, master) }
  } catch (error) {
    if (master !== undefined) closeSync(master)
    if ((error as NodeJS.ErrnoException).code === 'ENOSPC') {
      const why = 'this host has no free pseudo-terminals'
      throw new RelayError('exhausted', { what, why, fix: 'Raise the sysctl kernel.pty.max', cause: error })
    }
    throw RelayError.from(error, what)
  }
}

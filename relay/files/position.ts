import { setTimeout as sleep } from 'node:timers/promises'
import type { OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { loadLibc } from '../native/libc.ts'
import type { FileOptions } from './file-options.ts'

const SEEK_SET = 0
const SEEK_CUR = 1
const SEEK_END = 2

/** Moves to where the options say: Node has no call for it. Throws the system's error. */
export async function seek(fd: number, { seek, seekCur, seekEnd }: FileOptions, what: string): Promise<void> {
  const moves = [
    [seek, SEEK_SET],
    [seekCur, SEEK_CUR],
    [seekEnd, SEEK_END],
  ] as const
  for (const [bytes, from] of moves) {
    if (bytes !== undefined) (await loadLibc(what)).lseek(fd, bytes, from)
  }
}

const LOCK_SH = 1
const LOCK_EX = 2
const LOCK_NB = 4
const lookEveryMs = 50

/** Takes the lock that the options ask for; whoever waits for it may be called off. */
export async function lockFile(
  fd: number,
  { flockEx, flockExNb, flockSh, flockShNb }: FileOptions,
  what: string,
  { signal }: Pick<OpenContext, 'signal'>,
): Promise<void> {
  if (!(flockEx || flockExNb || flockSh || flockShNb)) return
  const libc = await loadLibc(what)
  const kind = flockEx || flockExNb ? LOCK_EX : LOCK_SH
  for (;;) {
    try {
      libc.flock(fd, kind | LOCK_NB)
      return
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
      if (flockExNb || flockShNb) {
        const why = 'somebody else has it locked'
        throw new RelayError('conflict', { what, why, fix: 'Try again later', cause: error })
      }
    }
    await sleep(lookEveryMs, undefined, { signal })
  }
}

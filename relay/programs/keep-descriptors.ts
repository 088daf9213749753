import { readdirSync } from 'node:fs'
import { loadLibc } from '../native/libc.ts'

const F_SETFD = 2
const FD_CLOEXEC = 1

let done = false

/**
 * What Node opens it keeps from programs, but not what this process was started with: the sockets of a supervisor, the
 * files of a careless script. From now on no program gets those either.
 */
export async function keepDescriptors(what: string): Promise<void> {
  if (done) return
  const libc = await loadLibc(what)
  for (const fd of readdirSync('/proc/self/fd').map(Number)) {
    if (fd <= 2) continue
    try {
      libc.fcntl(fd, F_SETFD, FD_CLOEXEC)
    } catch {
      // the descriptor of this very listing is closed by now
    }
  }
  done = true
}

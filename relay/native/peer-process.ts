import type { Libc } from './libc.ts'

/** Whose program is at the other end of a connected Unix socket: as it was when it connected. */
export interface PeerProcess {
  readonly uid: number
  /** Absent where its process is none that this one could see. */
  readonly pid?: number
}

const SOL_SOCKET = 1
const SO_PEERCRED = 17

/** Undefined where the kernel does not say. */
export function peerProcess(libc: Libc, fd: number): PeerProcess | undefined {
  const credentials = Buffer.alloc(12)
  const length = Buffer.alloc(4)
  length.writeUInt32LE(credentials.length)
  try {
    libc.getsockopt(fd, SOL_SOCKET, SO_PEERCRED, credentials, length)
  } catch {
    return undefined
  }
  const pid = credentials.readInt32LE(0)
  return { uid: credentials.readUInt32LE(4), ...(pid > 0 && { pid }) }
}

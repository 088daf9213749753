import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Address } from '../address.ts'
import type { Channel, OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { landing } from './landing.ts'
import { nearlyFull, socketChannel } from './sockets.ts'
import { defaultConnectTimeoutMs } from './tcp-dial.ts'
import { checkPlatform, type SocketName, shownName } from './unix-name.ts'

export interface UnixTarget {
  /** As the ceiling sees it; also the name of the target in errors. */
  readonly scope: Address
  readonly name: SocketName
  readonly connectTimeoutMs?: number | undefined
}

/** Dials a Unix stream socket. */
export async function dialUnix(target: UnixTarget, cx: OpenContext): Promise<Channel> {
  const { scope, name } = target
  if (cx.signal.aborted) throw RelayError.from(cx.signal.reason, scope.text)
  checkPlatform(name, scope.text)
  cx.egress.check(scope)
  try {
    const path = name.is === 'abstract' ? `\0${name.text}` : await landing(scope, cx)
    const socket = await connectPatiently(path, target, cx)
    return checked(socket, target, cx)
  } catch (error) {
    throw explained(error, target)
  }
}

/** The kernel does not let a non-blocking client wait for room in a full backlog, so the wait is ours. */
async function connectPatiently(path: string, target: UnixTarget, cx: OpenContext): Promise<Socket> {
  const { connectTimeoutMs = defaultConnectTimeoutMs, scope } = target
  const deadline = performance.now() + connectTimeoutMs
  for (let pauseMs = 1; ; pauseMs = Math.min(pauseMs * 2, 50)) {
    try {
      return await connectUnix(path)
    } catch (error) {
      if (errnoOf(error) !== 'EAGAIN') throw error
    }
    if (performance.now() + pauseMs > deadline) {
      const why = `what listens there has taken no connection within ${connectTimeoutMs} ms`
      throw new RelayError('timed-out', { what: scope.text, why })
    }
    await sleep(pauseMs, undefined, { signal: cx.signal }).catch(() => {
      throw RelayError.from(cx.signal.reason, scope.text)
    })
  }
}

function checked(socket: Socket, { scope, name }: UnixTarget, cx: OpenContext): Channel {
  if (cx.signal.aborted || nearlyFull(socket, 'all')) {
    socket.destroy()
    if (cx.signal.aborted) throw RelayError.from(cx.signal.reason, scope.text)
    const why = 'this process has hardly any free file descriptors left'
    throw new RelayError('exhausted', { what: scope.text, why, fix: 'Raise `ulimit -n`' })
  }
  return socketChannel(socket, { text: shownName(name) })
}

/** One attempt, in no time: the kernel answers at once. Rejects with the system's error. */
export function connectUnix(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path, allowHalfOpen: true })
    socket.once('error', reject)
    socket.once('connect', () => {
      socket.off('error', reject)
      resolve(socket)
    })
  })
}

function explained(error: unknown, { scope, name }: UnixTarget): RelayError {
  const what = scope.text
  const where = shownName(name)
  switch (errnoOf(error)) {
    case 'ENOENT':
      return new RelayError('not-found', {
        what,
        why: `there is no ${where}`,
        fix: 'Start what serves it, or correct the path',
        cause: error,
      })
    case 'ECONNREFUSED':
      return new RelayError('refused', { what, why: `nothing listens on ${where}`, cause: error })
    case 'EPROTOTYPE':
      return new RelayError('unsupported', {
        what,
        why: `${where} is a socket for datagrams, and Node opens Unix sockets for streams only`,
        fix: 'Let its server listen on a stream socket or on UDP',
        cause: error,
      })
    case 'EACCES':
      return new RelayError('denied', {
        what,
        why: `the user ${process.getuid?.() ?? ''} of this process may not write to ${where}`,
        fix: "Give it the socket's group, or the socket another mode",
        cause: error,
      })
    default:
      return RelayError.from(error, what)
  }
}

export function errnoOf(error: unknown): string | undefined {
  return error instanceof RelayError ? undefined : (error as NodeJS.ErrnoException | undefined)?.code
}

import { createServer, type Server, type Socket } from 'node:net'
import type { Address } from '../address.ts'
import type { Listener, OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { type Libc, loadLibc } from '../native/libc.ts'
import { peerProcess } from '../native/peer-process.ts'
import { startTimer } from '../timer.ts'
import { openArrivals } from './arrivals.ts'
import { checkPlaceOf } from './landing.ts'
import type { Placed } from './placed.ts'
import { placeSocket, type SocketFileOptions } from './socket-file.ts'
import { descriptor, nearlyFull, socketChannel } from './sockets.ts'
import { checkPlatform, type SocketName, shownName } from './unix-name.ts'

export interface UnixListenTarget {
  readonly scope: Address
  readonly name: SocketName
  readonly options: SocketFileOptions & {
    readonly fork?: boolean
    readonly backlog?: number
    readonly acceptTimeout?: number
  }
}

const defaultBacklog = 511

/** Listens on a Unix stream socket. */
export async function listenUnix(
  { scope, name, options }: UnixListenTarget,
  cx: OpenContext,
): Promise<Listener> {
  checkPlatform(name, scope.text)
  if (name.is === 'path') await checkPlaceOf(scope, cx)
  const { backlog = defaultBacklog, acceptTimeout = Infinity } = options
  // Not read before the relay asks: until the target is open the client's bytes stay in the kernel, and nothing is lost.
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true })
  // Where the library cannot be called, clients are told apart by their number alone.
  const libc = await loadLibc(scope.text).catch(() => undefined)
  // Once its file is in place clients may come, and that is before all is done that belongs to placing it.
  const early: Socket[] = []
  let accept = (socket: Socket) => void early.push(socket)
  server.on('connection', socket => accept(socket))
  const file = await open(server, name, backlog, { options, what: scope.text })
  const close = () => {
    if (options.unlinkClose ?? true) file?.remove()
    server.close()
  }
  if (cx.signal.aborted) {
    close()
    for (const socket of early) socket.destroy()
    throw RelayError.from(cx.signal.reason, scope.text)
  }
  const stopWaiting = startTimer(acceptTimeout, () => {
    const why = `nobody has connected within ${acceptTimeout} ms`
    arrivals.fail(new RelayError('timed-out', { what: scope.text, why }))
  })
  const local = shownName(name)
  const arrivals = openArrivals(cx, {
    local,
    fork: options.fork ?? false,
    queue: backlog,
    close() {
      stopWaiting()
      close()
    },
  })
  const here = () => ({ address: local })
  let connected = 0
  accept = socket => {
    stopWaiting()
    const text = `${local}#${++connected}${whoseProgram(libc, socket)}`
    const channel = socketChannel(socket, { text, local: here })
    if (nearlyFull(socket, 'arrivals')) {
      channel.abort(new RelayError('exhausted', { what: scope.text }))
      cx.turnedAway?.('descriptors', channel.peer)
      return
    }
    arrivals.offer(channel)
  }
  for (const socket of early) accept(socket)
  server.on('error', error => arrivals.fail(RelayError.from(error, scope.text)))
  return arrivals
}

/** `` or ` (uid 1000, pid 4711)`. */
function whoseProgram(libc: Libc | undefined, socket: Socket): string {
  const fd = descriptor(socket)
  const found = libc && fd !== undefined ? peerProcess(libc, fd) : undefined
  if (!found) return ''
  return found.pid === undefined ? ` (uid ${found.uid})` : ` (uid ${found.uid}, pid ${found.pid})`
}

async function open(
  server: Server,
  name: SocketName,
  backlog: number,
  { options, what }: { options: SocketFileOptions; what: string },
): Promise<Placed | undefined> {
  try {
    if (name.is === 'path') {
      return await placeSocket(name.text, options, what, path => listening(server, path, backlog))
    }
    await listening(server, `\0${name.text}`, backlog)
    return undefined
  } catch (error) {
    server.close()
    throw RelayError.from(error, what)
  }
}

function listening(server: Server, path: string, backlog: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ path, backlog, exclusive: true }, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

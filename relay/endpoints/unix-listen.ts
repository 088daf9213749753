import { createServer, type Server, type Socket } from 'node:net'
import type { Address } from '../address.ts'
import type { Listener, OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { startTimer } from '../timer.ts'
import { openArrivals } from './arrivals.ts'
import { checkPlaceOf } from './landing.ts'
import type { Placed } from './placed.ts'
import { placeSocket, type SocketFileOptions } from './socket-file.ts'
import { nearlyFull, socketChannel } from './sockets.ts'
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
  const file = await open(server, name, backlog, { options, what: scope.text })
  const close = () => {
    if (options.unlinkClose ?? true) file?.remove()
    server.close()
  }
  if (cx.signal.aborted) {
    close()
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
  let connected = 0
  server.on('connection', (socket: Socket) => {
    stopWaiting()
    // Node cannot ask the kernel who connects to a Unix socket; clients are told apart by their number.
    const channel = socketChannel(socket, { text: `${local}#${++connected}` })
    if (nearlyFull(socket, 'arrivals')) {
      channel.abort(new RelayError('exhausted', { what: scope.text }))
      cx.turnedAway?.('descriptors', channel.peer)
      return
    }
    arrivals.offer(channel)
  })
  server.on('error', error => arrivals.fail(RelayError.from(error, scope.text)))
  return arrivals
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

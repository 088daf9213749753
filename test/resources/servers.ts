import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { receive } from './streams.ts'

/** A TCP server of a test. Disposal closes what is left of its connections. */
export interface TestServer extends AsyncDisposable {
  readonly port: number
  readonly sockets: ReadonlySet<Socket>
}

export async function openServer(
  serve: (socket: Socket) => void,
  { port = 0, host = '127.0.0.1' } = {},
): Promise<TestServer> {
  const sockets = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, socket => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    socket.on('error', () => {})
    serve(socket)
  })
  server.listen(port, host)
  await once(server, 'listening')
  return {
    port: (server.address() as { port: number }).port,
    sockets,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

/** Sends back what it gets, and ends when its client does. */
export function openEchoServer(): Promise<TestServer> {
  return openServer(socket => socket.pipe(socket))
}

/** A client of a test. */
export type TestClient = Socket & AsyncDisposable

export async function openClient(
  port: number,
  { host = '127.0.0.1', from = '127.0.0.1' } = {},
): Promise<TestClient> {
  const socket = connect({
    host,
    port,
    allowHalfOpen: true,
    ...(host.includes(':') ? {} : { localAddress: from }),
  })
  socket.on('error', () => {})
  const closed = new Promise<void>(resolve => socket.once('close', () => resolve()))
  const dispose = () => {
    socket.destroy()
    return closed
  }
  await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject))
  return Object.assign(socket, { [Symbol.asyncDispose]: dispose })
}

/** Says `words` and ends; what comes back, or `reset`. */
export async function exchange(port: number, words: string): Promise<string> {
  try {
    await using client = await openClient(port)
    client.end(words)
    return String(await receive(client))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ECONNRESET') return 'reset'
    throw error
  }
}

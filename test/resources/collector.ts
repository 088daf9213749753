import { once } from 'node:events'
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'

/** A collector of syslog, as RFC 6587 (octet counting) and RFC 5425 have it. */
export interface Collector extends AsyncDisposable {
  readonly port: number
  /** What arrived whole, in order. */
  readonly messages: readonly string[]
  /** How many connections there were. */
  readonly connections: number
  /** Tears the connections that there are. */
  hangUp(): void
}

interface CollectorOptions {
  readonly port?: number
  readonly tls?: { readonly key: string; readonly cert: string }
  /** It takes connections, and reads nothing. */
  readonly stalls?: boolean
}

export async function openCollector({
  port = 0,
  tls,
  stalls = false,
}: CollectorOptions = {}): Promise<Collector> {
  const messages: string[] = []
  const open = new Set<Socket>()
  let connections = 0

  function take(socket: Socket): void {
    connections++
    open.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => open.delete(socket))
    if (stalls) return void socket.pause()
    let rest = Buffer.alloc(0)
    socket.on('data', chunk => {
      rest = Buffer.concat([rest, chunk])
      for (;;) {
        const blank = rest.indexOf(0x20)
        if (blank < 0) return
        const length = Number(rest.subarray(0, blank).toString('latin1'))
        if (!Number.isSafeInteger(length) || length < 1) throw new Error(`no frame: ${rest}`)
        if (rest.length < blank + 1 + length) return
        messages.push(rest.subarray(blank + 1, blank + 1 + length).toString('utf8'))
        rest = rest.subarray(blank + 1 + length)
      }
    })
  }

  const server = tls ? createTlsServer(tls, take) : createTcpServer(take)
  server.on('tlsClientError', () => {})
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  const hangUp = () => {
    for (const socket of open) socket.resetAndDestroy()
  }
  return {
    port: (server.address() as AddressInfo).port,
    messages,
    get connections() {
      return connections
    },
    hangUp,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close')
      server.close()
      for (const socket of open) socket.destroy()
      await closed
    },
  }
}

import { connect } from 'node:net'
import { openServer, type TestServer } from './servers.ts'

export interface ConnectProxy extends TestServer {
  /** The heads of the requests that came. */
  readonly heads: readonly string[]
}

/** An HTTP proxy that knows CONNECT. `answer` is what it says when the tunnel stands, the first bytes of it included. */
export async function openConnectProxy(
  answer = 'HTTP/1.1 200 Connection established\r\n\r\n',
): Promise<ConnectProxy> {
  const heads: string[] = []
  const server = await openServer(client => {
    let head = ''
    const onData = (chunk: Buffer) => {
      head += chunk.toString('latin1')
      const end = head.indexOf('\r\n\r\n')
      if (end < 0) return
      client.off('data', onData).pause()
      client.unshift(Buffer.from(head.slice(end + 4), 'latin1'))
      heads.push(head.slice(0, end))
      const [, host = '', port] = /^CONNECT \[?([^\]]*?)\]?:(\d+) HTTP/.exec(head) ?? []
      const far = connect({ host, port: Number(port), allowHalfOpen: true }, () => {
        client.write(answer, 'latin1')
        client.pipe(far)
        far.pipe(client)
      })
      far.on('error', error => {
        if ((error as NodeJS.ErrnoException).code === 'ECONNRESET') client.resetAndDestroy()
        else client.end('HTTP/1.1 502 Bad Gateway\r\n\r\n')
      })
      client.on('error', () => far.resetAndDestroy()).on('close', () => far.destroy())
      far.on('close', () => client.destroyed || far.errored === null || client.destroy())
    }
    client.on('data', onData).resume()
  })
  return Object.assign(server, { heads })
}

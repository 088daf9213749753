import { createSocket, type RemoteInfo } from 'node:dgram'
import { until } from '#test/resources/until.ts'

/** A plain UDP socket, to stand for a peer of a relay. */
export interface DatagramSocket extends AsyncDisposable {
  readonly port: number
  readonly got: readonly { readonly text: string; readonly from: RemoteInfo }[]
  send(data: string | Buffer, port: number, host?: string): Promise<void>
  /** What came as the nth datagram, once it is there. */
  reply(nth?: number): Promise<string>
}

/** With `answer`, each datagram is answered with what it returns; several answers are an array. */
export async function openDatagramSocket(
  answer?: (text: string) => string | Buffer | readonly (string | Buffer)[] | undefined,
  host = '127.0.0.1',
): Promise<DatagramSocket> {
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4')
  const got: { text: string; from: RemoteInfo }[] = []
  socket.on('message', (datagram, from) => {
    const text = datagram.toString()
    got.push({ text, from })
    const answers = answer?.(text) ?? []
    for (const each of Array.isArray(answers) ? answers : [answers]) {
      socket.send(each, from.port, from.address)
    }
  })
  await new Promise<void>(resolve => socket.bind(0, host, resolve))
  return {
    port: socket.address().port,
    got,
    send: (data, port, to = host) =>
      new Promise((resolve, reject) =>
        socket.send(data, port, to, error => (error ? reject(error) : resolve())),
      ),
    async reply(nth = 1) {
      await until(`datagram ${nth} has come`, () => got.length >= nth)
      return got[nth - 1]!.text
    },
    [Symbol.asyncDispose]: () => new Promise(resolve => socket.close(() => resolve())),
  }
}

// What the relays under test lead to: a server that echoes, or one that sends as fast as it is read.
import { createSocket } from 'node:dgram'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { answerQuestions } from '../processes.ts'

export interface TargetQuestion {
  readonly serve: 'echo' | 'source' | 'udp-echo'
}

const chunk = Buffer.alloc(256 * 1024, 'fleetcat')

answerQuestions<TargetQuestion>(async ({ serve }) => {
  if (serve === 'udp-echo') return await udpEcho()
  const server = createServer({ noDelay: true }, serve === 'echo' ? echo : source)
  return await listening(server)
})

function echo(socket: Socket): void {
  socket.on('error', () => socket.destroy())
  socket.on('data', bytes => socket.write(bytes))
}

async function udpEcho(): Promise<number> {
  const socket = createSocket({ type: 'udp4', recvBufferSize: 1 << 20, sendBufferSize: 1 << 20 })
  socket.on('message', (bytes, { port, address }) => socket.send(bytes, port, address))
  await new Promise<void>(resolve => socket.bind(0, '127.0.0.1', resolve))
  return socket.address().port
}

function source(socket: Socket): void {
  const fill = () => {
    while (!socket.destroyed && socket.write(chunk));
  }
  socket.on('error', () => socket.destroy())
  socket.on('end', () => socket.destroy())
  socket.on('drain', fill).resume()
  fill()
}

function listening(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ port: 0, host: '127.0.0.1', backlog: 4_096 }, () =>
      resolve((server.address() as AddressInfo).port),
    )
  })
}

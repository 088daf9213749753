import { connect, type Socket } from 'node:net'

/** A client that keeps what it hears. */
export async function openListener(port: number, from = '127.0.0.1') {
  const socket: Socket = connect({ port, host: '127.0.0.1', localAddress: from })
  const heard: Buffer[] = []
  let closed = false
  socket.on('data', chunk => heard.push(chunk))
  socket.on('error', () => {})
  socket.on('close', () => {
    closed = true
  })
  await new Promise(resolve => socket.once('connect', resolve).once('close', resolve))
  return {
    socket,
    heard: () => Buffer.concat(heard).toString(),
    closed: () => closed,
    [Symbol.dispose]: () => void socket.destroy(),
  }
}

import { connect, type Socket } from 'node:net'

/** A client that keeps what it hears. */
export async function openListener(port: number) {
  const socket: Socket = connect(port, '127.0.0.1')
  const heard: Buffer[] = []
  let closed = false
  socket.on('data', chunk => heard.push(chunk))
  socket.on('error', () => {})
  socket.on('close', () => {
    closed = true
  })
  await new Promise(resolve => socket.once('connect', resolve))
  return {
    socket,
    heard: () => Buffer.concat(heard).toString(),
    closed: () => closed,
    [Symbol.dispose]: () => void socket.destroy(),
  }
}

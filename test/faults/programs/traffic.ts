// A server and clients inside one host. Every message carries the moment at which it was said, so that it can be told
// afterwards whether any that was said after a cut has passed, however late whoever looks is.
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import type { Question, Talk } from '../traffic.ts'

const everyMs = 10
const messageBytes = 16
const replyBytes = 8

const now = () => Number(process.hrtime.bigint()) / 1e6
const talks = new Map<number, Talk & { socket: Socket }>()

const answers: { [K in Question['do']]: (question: Extract<Question, { do: K }>) => Promise<unknown> } = {
  async serve({ port }) {
    const server = createServer(serve).listen(port, '127.0.0.1')
    await once(server, 'listening')
    return (server.address() as { port: number }).port
  },
  open: ({ port, from }) => open(port, from),
  async state() {
    return [...talks].map(([id, { socket: _, ...talk }]) => [id, talk])
  },
  async forget() {
    for (const { socket } of talks.values()) socket.destroy()
    talks.clear()
  },
}

process.on('message', ({ ticket, question }: { ticket: number; question: Question }) => {
  const answer = answers[question.do] as (question: Question) => Promise<unknown>
  answer(question).then(
    value => process.send?.({ ticket, value }),
    thrown => process.send?.({ ticket, error: String(thrown) }),
  )
})
process.once('disconnect', () => process.exit())

function serve(socket: Socket): void {
  socket.on('error', () => socket.destroy())
  whole(socket, messageBytes, message => {
    const talk = talks.get(message.readDoubleLE(0))
    if (talk) talk.forwardUntil = Math.max(talk.forwardUntil, message.readDoubleLE(8))
    const reply = Buffer.alloc(replyBytes)
    reply.writeDoubleLE(now())
    if (socket.writable) socket.write(reply)
  })
}

let opened = 0

/** Answers nothing when nobody listens there, or who does lets nobody in. */
async function open(port: number, from = '127.0.0.1'): Promise<number | undefined> {
  const id = ++opened
  const socket = connect({ port, host: '127.0.0.1', localAddress: from, noDelay: true })
  const talk = { socket, localPort: 0, closed: false, forwardUntil: 0, backwardUntil: 0 }
  talks.set(id, talk)
  const first = Promise.withResolvers<number | undefined>()
  const speaking = setInterval(() => {
    if (socket.connecting || socket.writableLength > 0) return
    const message = Buffer.alloc(messageBytes)
    message.writeDoubleLE(id, 0)
    message.writeDoubleLE(now(), 8)
    socket.write(message)
  }, everyMs)
  socket.on('error', () => socket.destroy())
  socket.on('connect', () => {
    talk.localPort = socket.localPort ?? 0
  })
  socket.on('close', () => {
    clearInterval(speaking)
    talk.closed = true
    first.resolve(undefined)
  })
  whole(socket, replyBytes, reply => {
    talk.backwardUntil = Math.max(talk.backwardUntil, reply.readDoubleLE(0))
    first.resolve(id)
  })
  return first.promise
}

/** Calls for each piece of this many bytes. */
function whole(socket: Socket, bytes: number, heard: (piece: Buffer) => void): void {
  let rest = Buffer.alloc(0)
  socket.on('data', chunk => {
    rest = Buffer.concat([rest, chunk])
    for (; rest.length >= bytes; rest = rest.subarray(bytes)) heard(rest.subarray(0, bytes))
  })
}

// The client's side of the benches. Every load is bounded in count and in time.
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { connect as tlsConnect } from 'node:tls'
import { answerQuestions } from '../processes.ts'

/** How much was done, and in what time. */
export interface Done {
  readonly amount: number
  readonly seconds: number
}

export type LoadQuestion =
  /** Reads one stream. Answers how many bytes came. */
  | { readonly do: 'stream'; readonly port: number; readonly ms: number }
  /** Asks and waits for the answer, over and over, on so many connections. Answers how many exchanges. */
  | { readonly do: 'requests'; readonly port: number; readonly connections: number; readonly ms: number }
  /** Connects, exchanges one byte, closes. Answers how many. */
  | { readonly do: 'connect'; readonly port: number; readonly total: number; readonly ms: number }
  /** Opens so many connections and keeps them. Answers once a byte has gone there and back on each. */
  | { readonly do: 'hold'; readonly port: number; readonly count: number }
  /** The same over TLS: one stream, and one byte on each of so many connections. */
  | { readonly do: 'tls-stream'; readonly port: number; readonly ms: number }
  | { readonly do: 'tls-connect'; readonly port: number; readonly total: number; readonly ms: number }
  /** Datagrams there and back, of so many flows. Answers how many came back. */
  | { readonly do: 'datagrams'; readonly port: number; readonly flows: number; readonly ms: number }
  | { readonly do: 'release' }

const request = Buffer.alloc(100, 'q')
const atOnce = 20
const held = new Set<Socket>()

answerQuestions<LoadQuestion>(async question => {
  switch (question.do) {
    case 'stream':
      return stream(question.port, question.ms)
    case 'requests':
      return requests(question.port, question.connections, question.ms)
    case 'connect':
      return conversations(() => converse(question.port), question.total, question.ms)
    case 'tls-stream':
      return tlsStream(question.port, question.ms)
    case 'tls-connect':
      return conversations(() => tlsConverse(question.port), question.total, question.ms)
    case 'datagrams':
      return datagrams(question.port, question.flows, question.ms)
    case 'hold':
      return hold(question.port, question.count)
    case 'release':
      for (const socket of held) socket.destroy()
      held.clear()
  }
})

/** One buffer for all reads, so that the reader is not what is measured. */
function stream(port: number, ms: number): Promise<Done> {
  return new Promise((resolve, reject) => {
    const buffer = Buffer.alloc(1024 * 1024)
    let bytes = 0
    let began = 0
    const callback = (length: number) => {
      const now = performance.now()
      began ||= now
      bytes += length
      if (now - began < ms) return true
      socket.destroy()
      resolve({ amount: bytes, seconds: (now - began) / 1000 })
      return false
    }
    const socket = connect({ port, host: '127.0.0.1', onread: { buffer, callback } })
    socket.once('error', reject)
    socket.once('end', () => reject(new Error('the stream ended early')))
  })
}

async function requests(port: number, connections: number, ms: number): Promise<Done> {
  const sockets = await Promise.all(Array.from({ length: connections }, () => open(port)))
  let exchanges = 0
  const began = performance.now()
  const until = began + ms
  const talk = (socket: Socket) =>
    new Promise<void>((resolve, reject) => {
      let missing = request.length
      socket.on('error', reject)
      socket.on('close', () => reject(new Error('a kept connection was closed')))
      socket.on('data', bytes => {
        missing -= bytes.length
        if (missing > 0) return
        exchanges++
        if (performance.now() >= until) return resolve()
        missing = request.length
        socket.write(request)
      })
      socket.write(request)
    })
  await Promise.all(sockets.map(talk))
  const seconds = (performance.now() - began) / 1000
  for (const socket of sockets) socket.destroy()
  return { amount: exchanges, seconds }
}

async function conversations(one: () => Promise<void>, total: number, ms: number): Promise<Done> {
  let begun = 0
  let done = 0
  const began = performance.now()
  const worker = async () => {
    while (begun < total && performance.now() - began < ms) {
      begun++
      await one()
      done++
    }
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
  return { amount: done, seconds: (performance.now() - began) / 1000 }
}

/** Closes as an ordinary client does; what counts is the answer, not how long the goodbyes take. */
function converse(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    socket.once('connect', () => socket.write('x'))
    socket.once('data', () => {
      socket.end()
      resolve()
    })
    socket.once('error', reject)
    socket.once('close', () => reject(new Error('a new connection was closed without an answer')))
  })
}

function tlsStream(port: number, ms: number): Promise<Done> {
  return new Promise((resolve, reject) => {
    let bytes = 0
    let began = 0
    const socket = tlsConnect({ port, host: '127.0.0.1', rejectUnauthorized: false })
    socket.on('data', chunk => {
      const now = performance.now()
      began ||= now
      bytes += chunk.length
      if (now - began < ms) return
      socket.destroy()
      resolve({ amount: bytes, seconds: (now - began) / 1000 })
    })
    socket.once('error', reject)
    socket.once('end', () => reject(new Error('the stream ended early')))
  })
}

function tlsConverse(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const options = { port, host: '127.0.0.1', rejectUnauthorized: false, session: undefined }
    const socket = tlsConnect(options, () => socket.write('x'))
    socket.once('data', () => {
      socket.end()
      resolve()
    })
    socket.once('error', reject)
    socket.once('close', () => reject(new Error('a new connection was closed without an answer')))
  })
}

/** What has not come back for a while is taken for lost, and sent again; it counts when it comes. */
async function datagrams(port: number, flows: number, ms: number): Promise<Done> {
  const window = 64 / Math.min(flows, 16)
  let amount = 0
  const began = performance.now()
  const until = began + ms
  const flow = () =>
    new Promise<void>((resolve, reject) => {
      const socket = createSocket({ type: 'udp4', recvBufferSize: 1 << 20 })
      const send = () => socket.send(request)
      let lastHeard = performance.now()
      const again = setInterval(() => {
        if (performance.now() >= until) {
          clearInterval(again)
          socket.close(resolve)
        } else if (performance.now() - lastHeard > 50) for (let i = 0; i < window; i++) send()
      }, 25)
      socket.on('error', reject)
      socket.on('message', () => {
        amount++
        lastHeard = performance.now()
        if (lastHeard < until) send()
      })
      socket.connect(port, '127.0.0.1', () => {
        for (let i = 0; i < window; i++) send()
      })
    })
  await Promise.all(Array.from({ length: flows }, flow))
  return { amount, seconds: ms / 1_000 }
}

async function hold(port: number, count: number): Promise<void> {
  let begun = 0
  const worker = async () => {
    while (begun < count) {
      begun++
      const socket = await open(port)
      // The relay may go before us; what was measured is known by then.
      socket.on('error', () => socket.destroy())
      held.add(socket)
      socket.write('x')
      await once(socket, 'data')
    }
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
}

async function open(port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  return socket
}

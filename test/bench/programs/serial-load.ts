// The clients of serial ports: those of the relays under test. Every load is bounded in count and in time.
import { once } from 'node:events'
import { readSync, writeSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { descriptor } from '#relay/endpoints/sockets.ts'
import { loadLibc } from '#relay/native/libc.ts'
import { telnet, telnetOptions, telnetParser } from '#relay/serial/telnet.ts'
import { type Followed, followPattern, type Heard, longestPiece, mark, over, patternAt } from '../pattern.ts'
import { answerQuestions } from '../processes.ts'

/** Clients are known by numbers. */
export type SerialQuestion =
  /** One after the other. Answers their numbers. */
  | { readonly do: 'connect'; readonly ports: readonly number[]; readonly telnet: boolean }
  /** Those that have not heard `mark` yet. Who was turned away tries again. */
  | { readonly do: 'unmarked'; readonly clients: readonly number[] }
  /** One byte there and back, over and over. Answers how long each took, in µs. */
  | { readonly do: 'round-trips'; readonly client: number; readonly count: number; readonly ms: number }
  /** Reads the pattern from its beginning, and those of `stalled` read nothing. */
  | { readonly do: 'listen'; readonly clients: readonly number[]; readonly stalled: readonly number[] }
  /** What has come since, once it is quiet. Those who were stalled read again. */
  | { readonly do: 'heard'; readonly clients: readonly number[] }
  /** Says the pattern as fast as it is taken. Answers how much. */
  | { readonly do: 'say'; readonly client: number; readonly ms: number }
  | { readonly do: 'leave'; readonly clients: readonly number[] }

const patienceMs = 10_000
const quietMs = 150
const POLLIN = 1
const SOL_SOCKET = 1
const SO_RCVBUF = 8

interface Client {
  readonly port: number
  readonly speaksTelnet: boolean
  readonly socket: Socket
  marked: boolean
  hear(bytes: Buffer): void
  /** Of the pattern, since it listens. */
  followed: Followed
  /** When bytes have come. */
  began: number
  last: number
}

const clients: Client[] = []
const libc = await loadLibc('a client')

answerQuestions<SerialQuestion>(async question => {
  switch (question.do) {
    case 'connect': {
      const numbers: number[] = []
      for (const port of question.ports) numbers.push(clients.push(await join(port, question.telnet)) - 1)
      return numbers
    }
    case 'unmarked':
      return await unmarked(question.clients)
    case 'round-trips':
      return await roundTrips(clients[question.client]!.socket, question.count, question.ms)
    case 'listen':
      for (const at of question.clients) listen(clients[at]!)
      for (const at of question.stalled) stall(clients[at]!.socket)
      return
    case 'heard':
      return await heard(question.clients.map(at => clients[at]!))
    case 'say':
      return await say(clients[question.client]!.socket, question.ms)
    case 'leave':
      for (const at of question.clients) clients[at]!.socket.destroy()
  }
})

async function join(port: number, speaksTelnet: boolean): Promise<Client> {
  const socket = await connected(port)
  socket.on('error', () => socket.destroy())
  const client: Client = {
    port,
    speaksTelnet,
    socket,
    marked: false,
    hear(bytes) {
      client.marked ||= bytes.includes(mark)
    },
    followed: { bytes: 0, breaks: 0 },
    began: 0,
    last: 0,
  }
  const got = (bytes: Buffer) => {
    client.last = performance.now()
    client.began ||= client.last
    client.hear(bytes)
  }
  if (speaksTelnet) {
    const parser = telnetParser({ data: got, command() {}, option() {}, subnegotiation() {} })
    parser.binary = true
    socket.on('data', chunk => parser.take(chunk)).write(hello)
  } else socket.on('data', got)
  return client
}

async function unmarked(numbers: readonly number[]): Promise<number[]> {
  for (const at of numbers) {
    const { socket, port, speaksTelnet } = clients[at]!
    if (socket.destroyed) clients[at] = await join(port, speaksTelnet)
  }
  return numbers.filter(at => !clients[at]!.marked)
}

/** Most servers take a moment until they listen. */
async function connected(port: number): Promise<Socket> {
  const deadline = performance.now() + patienceMs
  for (;;) {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    try {
      await once(socket, 'connect')
      return socket
    } catch (error) {
      if (performance.now() > deadline) throw error
      await delay(20)
    }
  }
}

/** As pyserial begins: bytes as they are, both ways, and the line with them. */
const hello = Buffer.from(
  [telnetOptions.binary, telnetOptions.suppressGoAhead, telnetOptions.comPort].flatMap(option => [
    ...[telnet.iac, telnet.will, option],
    ...(option === telnetOptions.comPort ? [] : [telnet.iac, telnet.do, option]),
  ]),
)

/** In the kernel and not in the event loop, so that the client is not what is measured. */
async function roundTrips(socket: Socket, count: number, ms: number): Promise<number[]> {
  socket.pause()
  await delay(0)
  const fd = descriptor(socket)!
  const waiting = Buffer.alloc(8)
  waiting.writeInt32LE(fd, 0)
  waiting.writeInt16LE(POLLIN, 4)
  const byte = Buffer.from('x')
  const room = Buffer.alloc(64)
  const took: number[] = []
  const until = performance.now() + ms
  while (took.length < count && performance.now() < until) {
    const began = performance.now()
    writeSync(fd, byte)
    if (libc.poll(waiting, 1, patienceMs) === 0) throw new Error('a byte did not come back')
    if (readSync(fd, room) !== 1) throw new Error('more came back than was sent')
    took.push((performance.now() - began) * 1_000)
  }
  writeSync(fd, Uint8Array.of(over))
  socket.resume()
  return took
}

function listen(client: Client): void {
  const follower = followPattern()
  client.followed = follower
  client.hear = follower.take
  client.began = 0
  client.last = 0
}

/** The kernel would take megabytes for somebody who does not read; now it takes some kilobytes. */
function stall(socket: Socket): void {
  const size = Buffer.alloc(4)
  size.writeInt32LE(4_096)
  libc.setsockopt(descriptor(socket)!, SOL_SOCKET, SO_RCVBUF, size, 4)
  socket.pause()
}

async function heard(those: readonly Client[]): Promise<Heard[]> {
  for (const { socket } of those) socket.resume()
  const resumedAt = performance.now()
  const lastOfAll = () => Math.max(resumedAt, ...those.map(({ last }) => last))
  while (performance.now() - lastOfAll() < quietMs) await delay(25)
  return those.map(({ followed: { bytes, breaks }, began, last }) => {
    return { bytes, breaks, seconds: (last - began) / 1_000 }
  })
}

async function say(socket: Socket, ms: number): Promise<number> {
  const until = performance.now() + ms
  let said = 0
  while (performance.now() < until) {
    const taken = socket.write(patternAt(said, longestPiece / 4))
    said += longestPiece / 4
    if (!taken) await Promise.race([once(socket, 'drain'), delay(patienceMs, undefined, { ref: false })])
  }
  return said
}

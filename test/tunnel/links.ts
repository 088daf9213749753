import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import type { Channel } from '#relay/endpoint.ts'
import { frame, type Kind, kinds, openFrameReader } from '#tunnel/frames.ts'
import { type Link, type LinkOptions, openLink } from '#tunnel/link.ts'
import type { Opening } from '#tunnel/words.ts'
import { until } from '../resources/until.ts'

/** Two ends of one TCP connection. */
export interface Wire extends AsyncDisposable {
  readonly here: Socket
  readonly there: Socket
}

export async function openWire(): Promise<Wire> {
  const server = createServer({ noDelay: true })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const here = connect({
    port: (server.address() as { port: number }).port,
    host: '127.0.0.1',
    noDelay: true,
  })
  const [there] = (await once(server, 'connection')) as [Socket]
  for (const socket of [here, there]) socket.on('error', () => {})
  // Closed for good when its connection is.
  const closed = once(server, 'close')
  server.close()
  return {
    here,
    there,
    async [Symbol.asyncDispose]() {
      await Promise.all([closing(here), closing(there), closed])
    },
  }
}

async function closing(socket: Socket): Promise<void> {
  if (socket.closed) return
  const closed = new Promise<void>(resolve => socket.once('close', () => resolve()))
  socket.destroy()
  await closed
}

/** Two links that talk to each other. */
export interface Linked extends AsyncDisposable {
  readonly initiator: Link
  readonly answering: Link
  readonly wire: Wire
  /** What has been asked for and was not taken yet. */
  readonly arrived: { channel: Channel; opening: Opening }[]
  /** One conversation, from both of its ends. */
  converse(framing?: Channel['framing']): Promise<Conversation>
}

export interface Conversation extends AsyncDisposable {
  readonly near: Channel
  readonly far: Channel
}

let count = 0
export const opening = (): Opening => ({ id: `c-${++count}`, source: '192.0.2.1:1' })
export const never = new AbortController().signal

export async function openLinked(options: Partial<LinkOptions> = {}): Promise<Linked> {
  const wire = await openWire()
  const arrived: { channel: Channel; opening: Opening }[] = []
  const initiator = openLink(wire.here, { ...options, peer: 'agent/b' })
  const answering = openLink(wire.there, {
    ...options,
    peer: 'agent/a',
    answer: (channel, opening) => void arrived.push({ channel, opening }),
  })
  return {
    initiator,
    answering,
    wire,
    arrived,
    async converse(framing = 'stream') {
      const wish = opening()
      const granted = initiator.open(wish, never)
      granted.catch(() => {})
      const found = await until('it is asked for', () => arrived.find(each => each.opening.id === wish.id))
      arrived.splice(arrived.indexOf(found), 1)
      const far = found.channel
      far.awaited?.granted({ ...far, framing, peer: { text: '192.0.2.9:5432' } })
      const near = await granted
      return {
        near,
        far,
        async [Symbol.asyncDispose]() {
          await Promise.all([near[Symbol.asyncDispose](), far[Symbol.asyncDispose]()])
        },
      }
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([initiator[Symbol.asyncDispose](), answering[Symbol.asyncDispose]()])
      await wire[Symbol.asyncDispose]()
    },
  }
}

/** What somebody says who is no link: any bytes at all. */
export interface Rogue extends AsyncDisposable {
  readonly link: Link
  readonly socket: Socket
  /** What the link has said, whole frames. */
  readonly heard: { kind: Kind; stream: number; payload: Buffer }[]
  readonly arrived: Channel[]
  say(kind: number, stream: number, payload?: string | Uint8Array): void
}

/** A link at one end, and a far side that the test speaks for. */
export async function openRogue(
  side: 'initiator' | 'answering',
  options: Partial<LinkOptions> = {},
): Promise<Rogue> {
  const wire = await openWire()
  const arrived: Channel[] = []
  const heard: Rogue['heard'] = []
  const link = openLink(wire.here, {
    peer: 'agent/rogue',
    ...(side === 'answering' && { answer: channel => void arrived.push(channel) }),
    ...options,
  })
  const reader = openFrameReader({
    isWhole: () => true,
    data: (stream, payload) => void heard.push({ kind: kinds.data, stream, payload }),
    words: (kind, stream, payload) => void heard.push({ kind, stream, payload }),
  })
  wire.there.on('data', chunk => reader.read(chunk as Buffer))
  return {
    link,
    socket: wire.there,
    heard,
    arrived,
    say(kind, stream, payload = '') {
      wire.there.write(frame(kind as Kind, stream, Buffer.from(payload as string)))
    },
    async [Symbol.asyncDispose]() {
      for (const channel of arrived) await channel[Symbol.asyncDispose]()
      await link[Symbol.asyncDispose]()
      await wire[Symbol.asyncDispose]()
    },
  }
}

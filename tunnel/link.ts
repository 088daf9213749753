import type { Duplex } from 'node:stream'
import type { Channel, Peer } from '#relay/endpoint.ts'
import { RelayError } from '#relay/errors.ts'
import { hearBriefly } from './brief-reads.ts'
import { openFrameWriter } from './frame-writer.ts'
import { frame, frameLength, type Kind, kinds, openFrameReader } from './frames.ts'
import { type Carrier, streamChannel, TunnelStream } from './stream.ts'
import {
  encodeOpened,
  encodeOpening,
  encodeReason,
  type Opened,
  type Opening,
  readOpened,
  readOpening,
  readReason,
} from './words.ts'

/**
 * Many conversations on one encrypted connection between two hosts: opening one costs a round trip and no handshake, and
 * what many of them say at a time leaves as one piece. Only the initiator opens them.
 */
export interface Link extends AsyncDisposable {
  /** Live conversations, those that are being opened included. */
  readonly streams: number
  /** Resolves when it is over, with what broke it or why it was ended. */
  readonly over: Promise<RelayError>
  readonly isOver: boolean
  readonly counts: LinkCounts
  /** Resolves when the far side has its target open. Rejects with its RelayError when it has not. */
  open(opening: Opening, signal: AbortSignal): Promise<Channel>
  /** Ends it and all its conversations now, and tells the far side why. */
  abort(reason: RelayError): void
}

/** Plain numbers since it began. */
export interface LinkCounts {
  opened: number
  refused: number
  datagramsDropped: number
}

/** Takes a conversation that the far side wants to begin: `awaited` of the channel has to be told what came of it. */
export type Answer = (channel: Channel, opening: Opening) => void

export interface LinkOptions {
  /** Who the far side is, as the handshake has shown: `agent/db-1`. */
  readonly peer: string
  /** Absent on the initiator's side: nobody else opens conversations. */
  readonly answer?: Answer
  readonly mostStreams?: number
  readonly quietMs?: number
}

const defaultMostStreams = 4_096
/** Without a word for so long it is asked whether anybody is there, and given up after as long again. */
const defaultQuietMs = 5_000
const goodbyeMs = 200
/** Of what is no data: a far side that leaves more of it unread only asks, and does not listen. */
const mostUnheard = 4_194_304

/** Takes over a connection whose far side has shown who it is. */
export function openLink(
  socket: Duplex,
  { peer, answer, mostStreams = defaultMostStreams, quietMs = defaultQuietMs }: LinkOptions,
): Link {
  const streams = new Map<number, TunnelStream>()
  const opening = new Map<number, PromiseWithResolvers<Opened>>()
  const counts: LinkCounts = { opened: 0, refused: 0, datagramsDropped: 0 }
  const over = Promise.withResolvers<RelayError>()
  const what = `the tunnel with ${peer}`
  const writer = openFrameWriter(socket)
  let lastId = 0
  let lastUnread = 0
  let ending: RelayError | undefined
  let roundTripMs = 1
  let heardAt = performance.now()
  let askedAt: number | undefined
  let unheard = 0

  /** What is no data is bounded by nobody's credit. */
  function say(kind: Kind, id: number, payload?: Uint8Array): void {
    if (ending) return
    unheard = writer.isFull ? unheard + frameLength(payload) : 0
    if (unheard > mostUnheard) end(broken('it asks, and does not listen to the answers'))
    else writer.write(kind, id, payload)
  }

  const carrier: Carrier = {
    data(id, bytes, done) {
      if (!ending) writer.write(kinds.data, id, bytes)
      writer.whenRoom(done)
    },
    end: id => say(kinds.end, id),
    reset: (id, reason) => say(kinds.reset, id, encodeReason(reason)),
    credit(id, bytes) {
      const payload = Buffer.allocUnsafe(4)
      payload.writeUInt32BE(bytes)
      say(kinds.credit, id, payload)
    },
    roundTripMs: () => roundTripMs,
    gone(id) {
      streams.delete(id)
    },
    dropped() {
      counts.datagramsDropped++
    },
  }

  const reader = openFrameReader({
    isWhole: id => streams.get(id)?.framing === 'datagram',
    data(id, bytes) {
      if (ending) return
      const stream = streams.get(id)
      // It was closed here, and the far side does not know yet: as TCP does, it is told that nobody reads.
      if (!stream) return void unread(id)
      if (!stream.arrived(bytes)) throw broken('it sent more than it may')
    },
    words: heard,
  })

  function unread(id: number): void {
    if (id === 0 || id > lastId) throw broken('it speaks of a conversation that never was')
    // Once for all that was on its way.
    if (id === lastUnread) return
    lastUnread = id
    say(kinds.reset, id, encodeReason(new RelayError('reset', { what, why: 'nobody reads any more' })))
  }

  function heard(kind: Kind, id: number, payload: Buffer): void {
    // What came in one piece with the goodbye is nobody's any more.
    if (ending) return
    const stream = streams.get(id)
    switch (kind) {
      case kinds.open:
        asked(id, payload)
        break
      case kinds.opened:
        wasOpened(id, readOpened(payload))
        break
      case kinds.refused:
        opening.get(id)?.reject(readReason(payload))
        break
      case kinds.end:
        stream?.ended()
        break
      case kinds.reset:
        wasReset(id, readReason(payload))
        break
      case kinds.credit:
        if (payload.length !== 4) throw broken('a credit of no number came')
        stream?.credited(payload.readUInt32BE())
        break
      case kinds.ping:
        say(kinds.pong, 0)
        break
      case kinds.pong:
        if (askedAt !== undefined) roundTripMs = performance.now() - askedAt
        askedAt = undefined
        break
      case kinds.goodbye:
        end(readReason(payload))
        break
    }
  }

  function wasOpened(id: number, opened: Opened): void {
    const stream = streams.get(id)
    // At once: what follows may have come with it.
    if (stream) stream.framing = opened.framing
    opening.get(id)?.resolve(opened)
  }

  function wasReset(id: number, why: RelayError): void {
    opening.get(id)?.reject(why)
    streams.get(id)?.cut(why)
  }

  function asked(id: number, payload: Buffer): void {
    if (!answer || id <= lastId) throw broken('it opens what is not its to open')
    lastId = id
    const wish = readOpening(payload)
    if (streams.size >= mostStreams) {
      const why = `it has ${mostStreams} conversations already`
      refuse(id, new RelayError('exhausted', { what, why, fix: 'Try again when some have ended' }))
      return
    }
    counts.opened++
    const stream = new TunnelStream(id, carrier)
    streams.set(id, stream)
    const channel = streamChannel(stream, {
      peer: { text: `${wish.source} through ${peer}`, identity: peer },
      awaited: {
        connectionId: wish.id,
        granted(far) {
          stream.framing = far.framing
          say(kinds.opened, id, encodeOpened(openedOf(far)))
        },
        async refused(error) {
          refuse(id, error)
          stream.cut(error)
        },
      },
    })
    answer(channel, wish)
  }

  function refuse(id: number, why: RelayError): void {
    counts.refused++
    say(kinds.refused, id, encodeReason(why))
  }

  /** Also when the far side has vanished without a word. */
  const watch = setInterval(() => {
    const quiet = performance.now() - heardAt
    if (quiet >= 2 * quietMs)
      end(
        new RelayError('unreachable', {
          what,
          why: `it has not been heard for ${Math.round(quiet / 1_000)} s`,
        }),
      )
    else if (quiet >= quietMs && askedAt === undefined) ping()
  }, quietMs / 2)
  watch.unref()

  function ping(): void {
    askedAt = performance.now()
    say(kinds.ping, 0)
  }

  function end(why: RelayError): void {
    if (ending) return
    ending = why
    clearInterval(watch)
    writer.stop()
    for (const { reject } of opening.values()) reject(why)
    for (const stream of [...streams.values()]) stream.cut(why)
    socket.destroy()
    over.resolve(why)
  }

  function abort(reason: RelayError): void {
    if (ending) return
    const last = frame(kinds.goodbye, 0, encodeReason(reason))
    writer.flush()
    writer.stop()
    ending = reason
    clearInterval(watch)
    for (const { reject } of opening.values()) reject(reason)
    for (const stream of [...streams.values()]) stream.cut(reason)
    const patience = setTimeout(() => socket.destroy(), goodbyeMs)
    socket.once('close', () => clearTimeout(patience))
    socket.end(last, () => socket.destroy())
    over.resolve(reason)
  }

  const broken = (why: string) => new RelayError('reset', { what, why })

  const closed = new Promise<void>(resolve => socket.once('close', () => resolve()))
  // How long the way is both ends have to know: windows grow by it.
  ping()

  hearBriefly(socket, chunk => {
    heardAt = performance.now()
    try {
      if (!ending) reader.read(chunk)
    } catch (thrown) {
      abort(RelayError.from(thrown, what))
    }
  })
  socket.on('error', thrown => end(RelayError.from(thrown, what)))
  socket.on('end', () => end(broken('the far side has closed it')))
  socket.on('close', () => end(broken('it was closed')))

  return {
    get streams() {
      return streams.size
    },
    over: over.promise,
    get isOver() {
      return ending !== undefined
    },
    counts,
    async open(wish, signal) {
      if (ending) throw ending
      if (signal.aborted) throw RelayError.from(signal.reason, what)
      const id = ++lastId
      const stream = new TunnelStream(id, carrier)
      streams.set(id, stream)
      const answered = Promise.withResolvers<Opened>()
      opening.set(id, answered)
      const onAbort = () => answered.reject(RelayError.from(signal.reason, what))
      signal.addEventListener('abort', onAbort)
      counts.opened++
      say(kinds.open, id, encodeOpening(wish))
      try {
        const opened = await answered.promise
        const { oneWay, idleMs, hangsUp } = opened
        const far: Peer = { text: `${opened.peer} on ${peer}`, identity: peer }
        return streamChannel(stream, {
          peer: far,
          ...(oneWay && { oneWay }),
          ...(idleMs !== undefined && { idleMs }),
          ...(hangsUp && { hangsUp }),
        })
      } catch (thrown) {
        counts.refused++
        const error = RelayError.from(thrown, what)
        stream.abort(error)
        throw error
      } finally {
        signal.removeEventListener('abort', onAbort)
        opening.delete(id)
      }
    },
    abort,
    async [Symbol.asyncDispose]() {
      abort(new RelayError('closed', { what, why: 'it is not needed any more' }))
      await closed
    },
  }
}

function openedOf({ framing, peer, oneWay, idleMs, hangsUp }: Channel): Opened {
  return {
    framing,
    peer: peer.text,
    ...(oneWay && { oneWay }),
    ...(idleMs !== undefined && { idleMs }),
    ...(hangsUp && { hangsUp }),
  }
}

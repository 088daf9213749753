import { RelayError } from '#relay/errors.ts'

/**
 * What goes over a link: frames of a kind, a stream and a payload, behind eight bytes: the kind, the length in three
 * bytes, the stream in four.
 */
export const kinds = {
  /** The initiator wants another conversation: an `Opening` as JSON. */
  open: 1,
  /** The target is open: an `Opened` as JSON. */
  opened: 2,
  /** It could not be opened: a `Reason` as JSON. */
  refused: 3,
  /** Bytes; of datagrams, one. */
  data: 4,
  /** One direction has ended. */
  end: 5,
  /** Cut, with a `Reason` as JSON. */
  reset: 6,
  /** So many bytes more may come: four bytes. */
  credit: 7,
  /** Are you there? */
  ping: 8,
  pong: 9,
  /** The whole link ends, with a `Reason` as JSON. */
  goodbye: 10,
} as const

export type Kind = (typeof kinds)[keyof typeof kinds]

const headerLength = 8
/** Of one frame of data: a datagram fits, and no stream keeps the others waiting for long. */
export const mostData = 65_536
/** Of what is not data. */
const mostWords = 16_384
const known: ReadonlySet<number> = new Set(Object.values(kinds))

export function frame(kind: Kind, stream: number, payload: Uint8Array = nothing): Buffer {
  const bytes = Buffer.allocUnsafe(frameLength(payload))
  putFrame(bytes, 0, kind, stream, payload)
  return bytes
}

export const frameLength = (payload: Uint8Array = nothing): number => headerLength + payload.length

/** Answers how many bytes it has put there, at `at`. */
export function putFrame(
  bytes: Buffer,
  at: number,
  kind: Kind,
  stream: number,
  payload: Uint8Array = nothing,
): number {
  bytes[at] = kind
  bytes.writeUIntBE(payload.length, at + 1, 3)
  bytes.writeUInt32BE(stream, at + 4)
  bytes.set(payload, at + headerLength)
  return headerLength + payload.length
}

const nothing = new Uint8Array(0)

export interface FrameReader {
  /** Throws a RelayError when the bytes are no frames; then nothing more may be read. */
  read(chunk: Buffer): void
}

export interface FrameListener {
  /** Is what comes on this stream to be put together again, frame by frame? Otherwise it is told in pieces, uncopied. */
  isWhole(stream: number): boolean
  /** The bytes are valid during the call only. */
  data(stream: number, bytes: Buffer): void
  words(kind: Exclude<Kind, typeof kinds.data>, stream: number, payload: Buffer): void
}

/** Reads frames however their bytes arrive. */
export function openFrameReader(listener: FrameListener): FrameReader {
  let head: Buffer = Buffer.alloc(0)
  let kind: Kind = kinds.ping
  let stream = 0
  /** Of the frame that is being read: what has not come yet. */
  let missing = -1
  let pieces: Buffer[] = []

  function begin(bytes: Buffer): void {
    const found = bytes[0]!
    missing = bytes.readUIntBE(1, 3)
    stream = bytes.readUInt32BE(4)
    if (!known.has(found)) throw broken(`a frame of the kind ${found} came, which there is not`)
    kind = found as Kind
    const most = kind === kinds.data ? mostData : mostWords
    if (missing > most) throw broken(`a frame of ${missing} bytes came, and ${most} is the most`)
  }

  function take(bytes: Buffer): void {
    missing -= bytes.length
    if (kind === kinds.data && !listener.isWhole(stream)) {
      if (bytes.length > 0) listener.data(stream, bytes)
    } else if (missing > 0) pieces.push(Buffer.from(bytes))
    else {
      const payload = pieces.length === 0 ? bytes : Buffer.concat([...pieces, bytes])
      pieces = []
      if (kind === kinds.data) listener.data(stream, payload)
      else listener.words(kind, stream, payload)
    }
    if (missing === 0) missing = -1
  }

  return {
    read(chunk) {
      let rest = chunk
      while (rest.length > 0 || missing === 0) {
        if (missing < 0) {
          const wanted = headerLength - head.length
          if (rest.length < wanted) {
            head = Buffer.concat([head, rest])
            return
          }
          begin(head.length === 0 ? rest : Buffer.concat([head, rest.subarray(0, wanted)]))
          head = head.length === 0 ? head : Buffer.alloc(0)
          rest = rest.subarray(wanted)
        }
        const piece = rest.subarray(0, missing)
        rest = rest.subarray(piece.length)
        take(piece)
      }
    },
  }
}

function broken(why: string): RelayError {
  return new RelayError('reset', { what: 'the tunnel', why: `what came is not of a tunnel: ${why}` })
}

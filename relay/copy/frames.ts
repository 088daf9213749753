import { type Message, readMessage, unintelligible } from './messages.ts'

/**
 * What passes between the sides of a copy: messages, and bytes of a tar stream, in frames of a byte for the kind, four
 * for the length, and so many bytes.
 */
export type Piece =
  | { readonly message: Message }
  /** As much of a frame as has come; where a frame begins makes no difference to a stream of bytes. */
  | { readonly data: Buffer }

const isMessage = 1
const isData = 2
const headLength = 5

/** More than this a message is never; what has more to say makes several. */
export const mostMessageBytes = 1_048_576
export const mostDataBytes = 1_048_576

export function messageFrame(message: Message): Buffer {
  const text = Buffer.from(JSON.stringify(message))
  if (text.length > mostMessageBytes) throw new Error(`a message of ${text.length} bytes`)
  return Buffer.concat([head(isMessage, text.length), text])
}

/** What stands before so many bytes of the tar stream. */
export const dataHead = (length: number): Buffer => head(isData, length)

function head(kind: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(headLength)
  bytes[0] = kind
  bytes.writeUInt32BE(length, 1)
  return bytes
}

/**
 * Takes a stream apart, chunk after chunk. Data is never kept, and is part of the chunk that was given. Throws a
 * RelayError when it makes no sense, and is of no use then.
 */
export function frameSplitter(): (chunk: Buffer) => Piece[] {
  let kind = 0
  /** Of the frame that has begun: how much is still to come. */
  let missing = 0
  /** Of a head or a message: what has come. */
  let kept: Buffer = Buffer.alloc(0)

  function* split(chunk: Buffer): Generator<Piece> {
    let rest = chunk
    while (rest.length > 0) {
      if (kind === 0) {
        const part = rest.subarray(0, headLength - kept.length)
        rest = rest.subarray(part.length)
        kept = Buffer.concat([kept, part])
        if (kept.length < headLength) return
        begin(kept)
        kept = Buffer.alloc(0)
      }
      const part = rest.subarray(0, missing)
      rest = rest.subarray(part.length)
      missing -= part.length
      if (kind === isData) {
        if (part.length > 0) yield { data: part }
      } else {
        kept = kept.length === 0 && missing === 0 ? part : Buffer.concat([kept, part])
        if (missing === 0) yield { message: readMessage(kept) }
      }
      if (missing > 0) return
      kind = 0
      kept = Buffer.alloc(0)
    }
  }

  function begin(head: Buffer): void {
    kind = head[0]!
    missing = head.readUInt32BE(1)
    if (kind !== isMessage && kind !== isData) throw unintelligible('what it sends is no copy')
    const most = kind === isMessage ? mostMessageBytes : mostDataBytes
    if (missing > most || missing === 0) throw unintelligible(`it sent a frame of ${missing} bytes`)
  }

  return chunk => [...split(chunk)]
}

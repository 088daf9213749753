import type { Duplex } from 'node:stream'
import { RelayError } from '../errors.ts'
import { openScope, type Scope } from '../scope.ts'
import { dataHead, frameSplitter, messageFrame, mostDataBytes, type Piece } from './frames.ts'
import type { Message } from './messages.ts'

/** The far side of a copy, as one side has it. All of it rejects with a RelayError once the far side is gone. */
export interface Conversation {
  /** Resolves when there is room for more. */
  say(message: Message): Promise<void>
  /** The same for bytes of the tar stream; they must not be changed any more. */
  send(bytes: Buffer): Promise<void>
  /** What the far side says, in order. To be taken by one reader, once. */
  heard(): AsyncGenerator<Piece>
}

/** With the signal aborted nobody waits any more for the far side to read: it may never do so. */
export function converse(stream: Duplex, signal: AbortSignal): Conversation {
  // What waits for it is told; when nobody does, an error that nobody hears would end the process.
  stream.on('error', () => {})
  return {
    say(message) {
      stream.write(messageFrame(message))
      return roomIn(stream, signal)
    },
    send(bytes) {
      stream.cork()
      for (let at = 0; at < bytes.length; at += mostDataBytes) {
        const part = bytes.subarray(at, at + mostDataBytes)
        stream.write(dataHead(part.length))
        stream.write(part)
      }
      stream.uncork()
      return roomIn(stream, signal)
    },
    heard: () => pieces(stream, signal),
  }
}

/** Reads chunk after chunk, and no more than one ahead. What is left when nobody wants more stays where it is. */
async function* pieces(stream: Duplex, signal: AbortSignal): AsyncGenerator<Piece> {
  const split = frameSplitter()
  const waiting: Buffer[] = []
  let wake: () => void = () => {}
  const arrived = (chunk: Buffer) => {
    waiting.push(chunk)
    stream.pause()
    wake()
  }
  const changed = () => wake()
  stream.on('data', arrived).on('end', changed).on('close', changed)
  signal.addEventListener('abort', changed)
  try {
    for (;;) {
      const chunk = waiting.shift()
      if (chunk) yield* split(chunk)
      else if (stream.readableEnded) return
      else if (stream.destroyed) throw gone(stream)
      else if (signal.aborted) throw signal.reason
      else {
        const more = new Promise<void>(resolve => {
          wake = resolve
        })
        stream.resume()
        await more
      }
    }
  } finally {
    stream.off('data', arrived).off('end', changed).off('close', changed)
    signal.removeEventListener('abort', changed)
  }
}

async function roomIn(stream: Duplex, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  if (stream.destroyed || stream.errored) throw gone(stream)
  if (!stream.writableNeedDrain) return
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const aborted = () => reject(signal.reason)
  stream.once('drain', resolve)
  signal.addEventListener('abort', aborted)
  try {
    await promise
  } finally {
    stream.off('drain', resolve)
    signal.removeEventListener('abort', aborted)
  }
}

/** What is done for this stream: it is over when the stream is closed. */
export function scopeOf(stream: Duplex): Scope {
  const scope = openScope()
  const closed = () => scope.abort(gone(stream))
  if (stream.destroyed) closed()
  else stream.once('close', closed)
  scope.defer(() => void stream.off('close', closed))
  return scope
}

/** Says why the stream is of no use any more. */
export function gone(stream: Duplex): RelayError {
  if (stream.errored) return RelayError.from(stream.errored, 'the copy')
  return brokenOff()
}

export function brokenOff(): RelayError {
  const why = 'the other side ended the connection before the copy was done'
  return new RelayError('reset', {
    what: 'the copy',
    why,
    fix: 'Try again; with `resume` it goes on from there',
  })
}

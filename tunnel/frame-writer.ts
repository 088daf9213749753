import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { frameLength, type Kind, putFrame } from './frames.ts'

/**
 * Where frames become bytes: they are copied into one piece, and the piece leaves when this turn of the loop is over,
 * or when it is full. One piece is on its way at a time; what is said meanwhile fills the next one, so that a busy link
 * writes much at once and an idle one writes at once.
 */
export interface FrameWriter {
  write(kind: Kind, stream: number, payload?: Uint8Array): void
  /** More waits than leaves at once. */
  readonly isFull: boolean
  /** Calls back when there is room for more: now, or when what waits has left. */
  whenRoom(done: () => void): void
  /** All that was said leaves now, whatever is on its way. */
  flush(): void
  /** Nothing more leaves, and nobody waits any more. */
  stop(): void
}

/** What leaves at once, without waiting for the end of the turn. */
const enough = 131_072
/** With room for the frame that makes it full. */
const pieceSize = 2 * enough

/** Pieces that may be used again: memory that was touched before costs much less than new memory. */
const spare: Buffer[] = []
const mostSpare = 32

export function openFrameWriter(socket: Duplex): FrameWriter {
  /** A socket has encrypted the bytes, or passed them to the kernel, once it calls back; other streams may keep them. */
  const mayReuse = socket instanceof Socket
  let piece: Buffer | undefined
  let used = 0
  let full: { bytes: Buffer; length: number }[] = []
  let waiting: (() => void)[] = []
  let isFlying = false
  let isDue = false
  let isOver = false

  const isFull = () => used >= enough || full.length > 0

  function send(bytes: Buffer, length: number): void {
    isFlying = true
    socket.write(bytes.subarray(0, length), () => {
      if (mayReuse && spare.length < mostSpare) spare.push(bytes)
      isFlying = false
      leave()
    })
  }

  function leave(): void {
    if (isFlying || isOver) return
    const next = full.shift()
    if (next) send(next.bytes, next.length)
    else if (piece && used > 0) {
      const [bytes, length] = [piece, used]
      piece = undefined
      used = 0
      send(bytes, length)
    }
    if (!isFull()) release()
  }

  function release(): void {
    if (waiting.length === 0) return
    const released = waiting
    waiting = []
    for (const done of released) done()
  }

  function leaveSoon(): void {
    isDue = false
    leave()
  }

  return {
    write(kind, stream, payload) {
      if (isOver) return
      const length = frameLength(payload)
      if (piece && used + length > piece.length) {
        full.push({ bytes: piece, length: used })
        piece = undefined
        used = 0
      }
      piece ??= (mayReuse && spare.pop()) || Buffer.allocUnsafeSlow(pieceSize)
      used += putFrame(piece, used, kind, stream, payload)
      if (isFlying) return
      if (used >= enough) leave()
      else if (!isDue) {
        isDue = true
        setImmediate(leaveSoon)
      }
    },
    get isFull() {
      return isFull()
    },
    whenRoom(done) {
      if (isOver || !isFull()) done()
      else waiting.push(done)
    },
    flush() {
      for (const { bytes, length } of full.splice(0)) socket.write(bytes.subarray(0, length))
      if (piece && used > 0) socket.write(piece.subarray(0, used))
      piece = undefined
      used = 0
    },
    stop() {
      isOver = true
      full = []
      piece = undefined
      release()
    },
  }
}

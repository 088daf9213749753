import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { frameLength, type Kind, putFrame } from './frames.ts'
import { enough, givePiece, takePiece } from './pieces.ts'

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
      if (mayReuse) givePiece(bytes)
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
      piece ??= takePiece()
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

import { enough, givePiece, takePiece } from './pieces.ts'

/** What came together, to be handed on as one. */
export interface Gathered {
  readonly bytes: Buffer
  /** Nobody looks at it any more. */
  release(): void
}

/** Bytes that wait for their reader: copied into pieces, so that what they came in can go. */
export interface Gathering {
  readonly isEmpty: boolean
  /** A whole piece of it waits. */
  readonly isMuch: boolean
  add(bytes: Buffer): void
  /** These stay by themselves. */
  addWhole(bytes: Buffer): void
  /** What came first. */
  shift(): Gathered | undefined
}

export function openGathering(): Gathering {
  const complete: Gathered[] = []
  let piece: Buffer | undefined
  let used = 0

  function finish(): void {
    if (!piece) return
    const whole = piece
    complete.push({ bytes: whole.subarray(0, used), release: () => givePiece(whole) })
    piece = undefined
    used = 0
  }

  return {
    get isEmpty() {
      return !piece && complete.length === 0
    },
    get isMuch() {
      return used >= enough || complete.length > 0
    },
    add(bytes) {
      for (let rest = bytes; rest.length > 0; ) {
        piece ??= takePiece()
        const part = rest.subarray(0, piece.length - used)
        piece.set(part, used)
        used += part.length
        rest = rest.subarray(part.length)
        if (used === piece.length) finish()
      }
    },
    addWhole(bytes) {
      finish()
      complete.push({ bytes, release() {} })
    },
    shift() {
      if (complete.length === 0) finish()
      return complete.shift()
    },
  }
}

/** Memory that was touched before costs much less than new memory, and none of it has to be collected. */
const spare: Buffer[] = []
const mostSpare = 32

/** A piece that has to leave holds so much, and the frame that makes it full. */
export const enough = 131_072
const pieceSize = 2 * enough

export function takePiece(): Buffer {
  return spare.pop() ?? Buffer.allocUnsafeSlow(pieceSize)
}

/** For who knows that nobody looks at it any more. */
export function givePiece(piece: Buffer): void {
  if (spare.length < mostSpare) spare.push(piece)
}

/** The narrowest that a cell is made: less says nothing. */
const least = 8

/**
 * Widths that add up to no more than `room`, as far as that can be had from the columns that may shrink; the widest
 * of them gives first.
 */
export function fitted(widths: readonly number[], mayShrink: readonly boolean[], room: number): number[] {
  const fitting = [...widths]
  let excess = fitting.reduce((sum, width) => sum + width, 0) - room
  for (; excess > 0; excess--) {
    const widest = fitting.reduce(
      (best, width, i) => (mayShrink[i] && width > least && (best < 0 || width > fitting[best]!) ? i : best),
      -1,
    )
    if (widest < 0) break
    fitting[widest]!--
  }
  return fitting
}

/**
 * An address in so much room: what stands before its first comma says most, so its options go first. What is too long
 * without them loses its middle, for a port stands at the end.
 */
export function shortened(text: string, width: number): string {
  if (text.length <= width) return text
  const [head = ''] = text.split(',', 1)
  if (head.length < width) return `${text.slice(0, width - 1)}…`
  const end = Math.floor((width - 1) / 2)
  return `${head.slice(0, width - 1 - end)}…${head.slice(head.length - end)}`
}

import type { Colour, Paint } from './colour.ts'

export interface Share {
  readonly n: number
  readonly colour: Colour | undefined
}

/** How much of a whole is done, and of which kind: `[██████░░░░]`. What there is one of among many still shows. */
export function bar(shares: readonly Share[], total: number, width: number, paint: Paint): string {
  const wanted = shares.map(({ n }) =>
    n > 0 && total > 0 ? Math.max(1, Math.floor((n * width) / total)) : 0,
  )
  const isDone = shares.reduce((sum, { n }) => sum + n, 0) >= total
  const filled = () => wanted.reduce((sum, cells) => sum + cells, 0)
  const widest = () => wanted.indexOf(Math.max(...wanted))
  // Only when all is done it looks so.
  const most = isDone ? width : width - 1
  while (filled() > most) wanted[widest()]!--
  if (isDone && filled() > 0) wanted[widest()]! += width - filled()
  const cells = shares
    .map(({ colour }, i) => (wanted[i]! > 0 ? paint('█'.repeat(wanted[i]!), colour) : ''))
    .join('')
  return `[${cells}${'░'.repeat(width - filled())}]`
}

import type { Progress } from '#relay/measuring.ts'
import { bar } from './bar.ts'
import { progress } from './progress.ts'

const titles: Record<Progress['part'], string> = {
  sent: 'there',
  received: 'back',
  roundTrips: 'round trips',
}
const width = 30

/** A bar for the part that is being measured; nothing where nobody looks. */
export function benchProgress(): { tell(progress: Progress): void } & Disposable {
  const line = progress()
  return {
    tell({ part, share, bytes, ms }) {
      const done = { n: Math.round(share * 1_000), colour: undefined }
      const rate = part === 'roundTrips' ? '' : ` ${(bytes / ms / 1e3).toFixed(0)} MB/s`
      line.say(`${titles[part].padEnd(11)} ${bar([done], 1_000, width, text => text)}${rate}`)
    },
    [Symbol.dispose]: () => line[Symbol.dispose](),
  }
}

import type { CopyProgress } from '../copying.ts'
import { bar } from './bar.ts'
import { progress } from './progress.ts'
import { bytes, span } from './time.ts'

const everyMs = 100
/** The rate is that of the last few seconds, for that is what somebody who waits wants to know. */
const windowMs = 5_000
const width = 24

/** One line on the terminal: how much, how fast, and how long it will take. Nothing at all elsewhere. */
export function copyProgress(): { show(progress: CopyProgress): void } & Disposable {
  const line = progress()
  const samples: { readonly at: number; readonly done: number }[] = []
  let drawnAt = -Infinity
  return {
    show({ total, done }) {
      const now = performance.now()
      if (now - drawnAt < everyMs) return
      drawnAt = now
      samples.push({ at: now, done })
      while (samples.length > 2 && now - samples[0]!.at > windowMs) samples.shift()
      line.say(progressLine({ total, done, rate: rateOf(samples) }))
    },
    [Symbol.dispose]: () => line[Symbol.dispose](),
  }
}

function rateOf(samples: readonly { readonly at: number; readonly done: number }[]): number {
  const [first, last] = [samples[0]!, samples.at(-1)!]
  return last.at > first.at ? ((last.done - first.done) * 1_000) / (last.at - first.at) : 0
}

/** `rate` is in bytes a second. */
export function progressLine({ total, done, rate }: { total: number; done: number; rate: number }): string {
  if (total === 0) return 'looking what there is to copy'
  const percent = `${Math.floor((done * 100) / total)}%`.padStart(4)
  const drawn = bar([{ n: done, colour: undefined }], total, width, text => text)
  const left = rate > 0 ? `, ${span(((total - done) * 1_000) / rate)} left` : ''
  return `${drawn}${percent}  ${bytes(done)} of ${bytes(total)}, ${bytes(rate)}/s${left}`
}

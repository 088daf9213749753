import { median } from './statistics.ts'

/** One bench: what it says of itself, and how it is run. */
export interface Bench {
  readonly name: string
  readonly title: string
  /** How it was measured, for a reader of the table. */
  readonly about: string
  run(cx: BenchContext): Promise<Outcome>
}

export interface BenchContext {
  /** Progress, for whoever waits. */
  say(words: string): void
  /** A peer that this machine lacks: it is named beside the table. */
  missing(words: string): void
}

export interface Outcome {
  readonly columns: readonly string[]
  readonly rows: readonly (readonly string[])[]
  /** Every number that was measured, kept for whoever doubts the table. */
  readonly raw: unknown
  /** Versions of what was compared. */
  readonly versions?: Readonly<Record<string, string>>
}

export interface Side<Sample = number> {
  readonly name: string
  measure(): Promise<Sample>
}

export interface Measured {
  readonly name: string
  readonly samples: readonly number[]
  readonly median: number
}

/**
 * Measures all sides in turn, round by round, each round beginning with another one: what else the machine does, and
 * how warm it is, then hits all of them alike. A first round only warms up and is not counted.
 */
export async function alternate(
  sides: readonly Side[],
  rounds: number,
  say: (words: string) => void,
): Promise<Measured[]> {
  const all = await inTurn(sides, rounds, say)
  return all.map(({ name, samples }) => ({ name, samples, median: median(samples) }))
}

/** The same of whatever is measured. */
export async function inTurn<Sample>(
  sides: readonly Side<Sample>[],
  rounds: number,
  say: (words: string) => void,
): Promise<{ name: string; samples: Sample[] }[]> {
  const samples = sides.map((): Sample[] => [])
  for (const side of sides) await side.measure()
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < sides.length; turn++) {
      const at = (round + turn) % sides.length
      samples[at]!.push(await sides[at]!.measure())
    }
    say(`round ${round + 1} of ${rounds}`)
  }
  return sides.map(({ name }, at) => ({ name, samples: samples[at]! }))
}

/** One line a side, with its ratio to the one that is called `reference`. */
export function compared(
  measured: readonly Measured[],
  reference: string,
  show: (value: number) => string,
): string[][] {
  const base = measured.find(({ name }) => name === reference)
  return measured.map(({ name, samples, median: middle }) => [
    name,
    show(middle),
    `${show(Math.min(...samples))} – ${show(Math.max(...samples))}`,
    base ? `${(middle / base.median).toFixed(2)} ×` : '–',
  ])
}

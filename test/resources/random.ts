import { randomInt } from 'node:crypto'

export interface Random {
  /** Between 0 and 1. */
  random(): number
  pick<T>(items: readonly T[]): T
}

/** The same numbers for the same seed. */
export function randomFrom(seed: number): Random {
  let state = seed
  /** mulberry32: short, and good enough to choose what to break. */
  function random(): number {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  return { random, pick: items => items[Math.floor(random() * items.length)]! }
}

/**
 * Random numbers that can be had again: the seed is printed, and `FLEETCAT_SEED` sets it.
 */
export function seededRandom(): Random & { readonly seed: number } {
  const seed = Number(process.env.FLEETCAT_SEED ?? randomInt(2 ** 31))
  process.stdout.write(`seed ${seed} (again with FLEETCAT_SEED=${seed})\n`)
  return { seed, ...randomFrom(seed) }
}

import { randomInt } from 'node:crypto'

/**
 * Random numbers that can be had again: the seed is printed, and `FLEETCAT_SEED` sets it.
 */
export function seededRandom() {
  const seed = Number(process.env.FLEETCAT_SEED ?? randomInt(2 ** 31))
  process.stdout.write(`seed ${seed} (again with FLEETCAT_SEED=${seed})\n`)
  let state = seed
  /** mulberry32: short, and good enough to choose what to break. */
  function random(): number {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T
  return { seed, random, pick }
}

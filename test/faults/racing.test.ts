import { expect, test } from 'vitest'
import { kernelSockets } from '../resources/kernel-sockets.ts'
import { seededRandom } from '../resources/random.ts'
import { openRaces } from './racing.ts'

/** `npm run torture` runs ten thousand. */
const rounds = 250

test.each(['abort', 'cut', 'ban', 'order'] as const)(
  'whatever comes while something is revoked (%s), nothing survives',
  async race => {
    const { random } = seededRandom()
    const before = kernelSockets(process.pid).length
    {
      await using races = await openRaces(random)
      for (let round = 0; round < rounds; round++) await races[race]()
      expect(races.met).toBeGreaterThan(rounds / 10)
    }
    expect(kernelSockets(process.pid)).toHaveLength(before)
  },
  120_000,
)

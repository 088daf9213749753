import { expect, test } from 'vitest'
import { seededRandom } from '../resources/random.ts'
import { openAnswered } from './answered.ts'

/** `npm run torture` kills it a thousand times. */
const rounds = 5

test('a controller that is killed right after its answer has revoked for good', async () => {
  const { random } = seededRandom()
  await using answered = await openAnswered()
  for (let round = 0; round < rounds; round++) await answered.round(random)
  expect(answered.rounds).toBe(rounds)
}, 120_000)

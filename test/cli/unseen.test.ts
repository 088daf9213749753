import { expect, test } from 'vitest'
import { omittedText, unseenText } from '#cli/unseen.ts'

test('an answer that is whole says nothing of it', () => {
  expect(omittedText(0)).toBe('')
  expect(unseenText([])).toBe('')
})

test('one that is not says how many connections are missing, and how to see them', () => {
  expect(omittedText(1_234)).toBe('1234 more are not shown; --relay, --agent or --source finds them')
})

test('agents out of reach are named, the first of many', () => {
  expect(unseenText(['a'])).toBe('a is unreachable; its connections are unknown')
  expect(unseenText([...'abcdefghij'])).toBe(
    'a, b, c, d, e, f, g, h and 2 more are unreachable; their connections are unknown',
  )
})

import { expect, test } from 'vitest'
import { watchLines } from '#relay/serial/alerts.ts'

function watching(pattern: RegExp) {
  const raised: string[] = []
  let gaveUp = 0
  const look = watchLines({ pattern, raised: line => void raised.push(line), gaveUp: () => void gaveUp++ })
  return {
    raised,
    says: (...chunks: string[]) => {
      for (const chunk of chunks) look(Buffer.from(chunk))
    },
    gaveUp: () => gaveUp,
  }
}

test('an alert is raised for each line that its pattern is in, wherever chunks begin', () => {
  const { raised, says } = watching(/panic|Oops/g)
  says('all is well\nkernel pa', 'nic - not syncing\r\nOops\nOops again')
  expect(raised).toEqual(['kernel panic - not syncing', 'Oops'])
})

test('a pattern is looked for in text, whatever its letters take', () => {
  const { raised, says } = watching(/^Größe: \d/u)
  says('Größe: 5\n', 'Große: 5\n')
  expect(raised).toEqual(['Größe: 5'])
})

test('a line that never ends is looked at all the same, and takes no memory', () => {
  const { raised, says } = watching(/x/)
  for (let n = 0; n < 100; n++) says('x'.repeat(1_000))
  expect(raised.map(({ length }) => length)).toEqual(Array(20).fill(5_000))
})

test('a pattern that takes for ever holds up nobody, and is given up in the end', () => {
  const { raised, says, gaveUp } = watching(/^(a+)+$/)
  says('aaa\n')
  expect(raised).toEqual(['aaa'])
  for (let n = 0; n < 10; n++) says(`${'a'.repeat(4_000)}b\n`)
  expect(gaveUp()).toBe(1)
  says('aaa\n')
  expect(raised).toEqual(['aaa'])
})

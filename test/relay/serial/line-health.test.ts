import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { lineHealth } from '#relay/serial/line-health.ts'
import type { LineCounters } from '#relay/serial/port.ts'
import { until } from '#test/resources/until.ts'

const none: LineCounters = { frame: 0, overrun: 0, parity: 0, breaks: 0 }

/** A line of which these bytes have come, in pieces of so many. */
function hintOf(bytes: Buffer, piece = 16): string | undefined {
  const said: string[] = []
  using health = lineHealth({ counters: async () => undefined, suspected: text => void said.push(text) })
  for (let at = 0; at < bytes.length; at += piece) health.take(bytes.subarray(at, at + piece))
  expect(said.length).toBeLessThanOrEqual(1)
  return said[0]
}

test.each<[string, Buffer]>([
  ['text', Buffer.from('U-Boot 2026.01 (Nov 29 2026)\r\n'.repeat(50))],
  ['text in colours', Buffer.from('\x1b[1;32m[  OK  ]\x1b[0m Started\t\x07\x08 \r\n'.repeat(50))],
  ['text in other alphabets', Buffer.from('Grüße, Ωμέγα, 起動しました 🚀\n'.repeat(50))],
  ['text with a byte that is none now and then', Buffer.from('temp 21\xb0C, hum 40%\n'.repeat(50), 'latin1')],
  ['a few bytes that are no text', Buffer.alloc(40)],
])('%s is as it should be, however it is cut', (_, bytes) => {
  for (let piece = 1; piece < 40; piece++) expect(hintOf(bytes, piece)).toBeUndefined()
})

test.each<[string, Buffer]>([
  ['what is read too fast', Buffer.alloc(300, '\x00\x80\xf8\x00', 'latin1')],
  ['what is read too slowly', Buffer.alloc(300, '\xe6\x66\x9e\x06', 'latin1')],
  ['chance', randomBytes(4_000)],
])('%s is no text, however it is cut', (_, bytes) => {
  for (let piece = 2; piece < 40; piece++) expect(hintOf(bytes, piece)).toContain('no text')
})

test('many framing errors are told, once, and again only when the line is set otherwise', async () => {
  const said: string[] = []
  let counts = { ...none, frame: 7 }
  let asked = 0
  using health = lineHealth({
    async counters() {
      asked++
      return counts
    },
    suspected: text => void said.push(text),
  })
  health.begin()
  await until('it was asked how it is', () => asked === 1)
  health.take(Buffer.alloc(1_000, 'text\n'))
  await until('it was asked again', () => asked === 2)
  // Those of before it was opened, and few of many, say nothing.
  counts = { ...counts, frame: 17 }
  health.take(Buffer.alloc(1_000, 'text\n'))
  await until('it was asked again', () => asked === 3)
  expect(said).toEqual([])
  counts = { ...counts, frame: 67, parity: 10 }
  health.take(Buffer.alloc(100, 'text\n'))
  await until('it is told', () => said.length === 1)
  expect(said[0]).toMatch(/^60 framing or parity errors in the last 100 bytes: is the line set/)
  health.take(Buffer.alloc(1_000))
  counts = { ...counts, frame: 100 }
  health.begin()
  await until('it was asked anew', () => asked === 5)
  health.take(Buffer.alloc(10, 'x'))
  await until('it was asked again', () => asked === 6)
  expect(said).toHaveLength(1)
  counts = { ...counts, frame: 110 }
  health.take(Buffer.alloc(10, 'x'))
  await until('it is told again', () => said.length === 2)
})

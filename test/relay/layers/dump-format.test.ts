import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import type { DumpFormat } from '#relay/flow-settings.ts'
import { type DumpEntry, formatDump } from '#relay/layers/dump-format.ts'
import { needing } from '#test/resources/needs.ts'
import { run } from '#test/resources/program.ts'

const at = new Date(2026, 0, 1, 12, 0, 0).getTime() + 0.123
const dump = (format: DumpFormat, entry: DumpEntry) => formatDump(format, entry).toString()
const entry = (bytes: Buffer, more = {}) => ({ direction: 'forward', at, from: 0, bytes, ...more }) as const

test('the header says when, which way, how much and from where', () => {
  expect(dump('text', entry(Buffer.from('hello')))).toBe(
    '> 2026/01/01 12:00:00.000123  length=5 from=0 to=4\nhello',
  )
  const back = entry(Buffer.from('ab'), { direction: 'backward', from: 7, connectionId: 'c1' })
  expect(dump('text', back)).toBe('< 2026/01/01 12:00:00.000123  length=2 from=7 to=8 connection=c1\nab\n')
})

const flags = { hex: ['-x'], text: ['-v'], both: ['-x', '-v'] } as const
const samples: Record<string, Buffer> = {
  words: Buffer.from('hello\nworld, and more than sixteen of them\n'),
  'every byte': Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)),
  'line ends': Buffer.from('\n\n\r\n0123456789abcde\n0123456789abcdef\n'),
  unfinished: Buffer.from('no line end'),
  random: randomBytes(3_000),
}

for (const format of ['hex', 'text', 'both'] as const) {
  needing('socat', 'bash')(
    `it is what socat ${flags[format].join(' ')} writes, but for the time`,
    async () => {
      for (const [name, bytes] of Object.entries(samples)) {
        const words = [...flags[format], '-u', '-', 'OPEN:/dev/null'].join(' ')
        const command = `printf %s ${bytes.toString('base64')} | base64 -d | LC_ALL=C socat ${words}`
        const { stderr } = await run(['bash', '-c', command])
        const ours = dump(format, entry(bytes))
        expect(timeless(ours), name).toBe(timeless(stderr))
      }
    },
  )
}

test('nothing in it is obeyed by a terminal', () => {
  for (const format of ['hex', 'text', 'both'] as const) {
    expect(dump(format, entry(samples['every byte']!))).toMatch(/^[\t\n\x20-\x7e]*$/)
  }
})

const timeless = (dump: string) => dump.replace(/^([<>]) \S+ \S+/gm, '$1 TIME')

import { stripVTControlCharacters } from 'node:util'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { formatDuration, parseDuration } from '#cli/duration.ts'
import { exitCodeOf } from '#cli/exit-codes.ts'
import { painter } from '#cli/output/colour.ts'
import { shortened } from '#cli/output/fit.ts'
import { type Presentation, renderItem, renderList } from '#cli/output/print.ts'
import { json, yaml } from '#cli/output/structured.ts'
import { table } from '#cli/output/table.ts'
import { bytes, span } from '#cli/output/time.ts'
import { changes, page } from '#cli/output/watch.ts'
import { errorCodes } from '#relay/errors.ts'

interface Pet {
  readonly kind: 'Pet'
  readonly name: string
  readonly legs: number
}

const pets: Presentation<Pet> = {
  listKind: 'PetList',
  none: 'No pet.',
  name: pet => `pet/${pet.name}`,
  key: pet => pet.name,
  columns: [
    { title: 'NAME', cell: pet => pet.name },
    { title: 'LEGS', cell: pet => String(pet.legs), right: true },
    { title: 'KIND', cell: pet => pet.kind, wide: true },
  ],
}
const cat: Pet = { kind: 'Pet', name: 'Tom', legs: 4 }
const bird: Pet = { kind: 'Pet', name: 'Polly the parrot', legs: 2 }
const style = { wide: false, headers: true, paint: (text: string) => text, now: 0 }

describe('a table', () => {
  test('lines up words at their start and numbers at their end', () => {
    expect(table([cat, bird], pets.columns, style)).toBe(
      'NAME              LEGS\nTom                  4\nPolly the parrot     2\n',
    )
  })

  test('has further columns with `-o wide`, and no title with --no-headers', () => {
    expect(table([cat], pets.columns, { ...style, wide: true, headers: false })).toBe('Tom  4  Pet\n')
  })

  test('shrinks what may be shrunk, and only as far as it must, to fit the width it is given', () => {
    const columns = [
      { title: 'NAME', cell: (pet: Pet) => pet.name, shrinks: true },
      { title: 'LEGS', cell: (pet: Pet) => String(pet.legs), right: true },
    ]
    const long = { ...cat, name: 'TCP4-LISTEN:8080,bind=127.0.0.1,fork' }
    const fitting = (width: number) => table([long, cat], columns, { ...style, width }).split('\n')
    expect(fitting(30)).toEqual([
      'NAME                      LEGS',
      'TCP4-LISTEN:8080,bind=1…     4',
      'Tom                          4',
      '',
    ])
    expect(fitting(80)[1]).toContain(long.name)
    expect(fitting(1)[1]).toBe('TCP4…080     4')
  })

  test('is nothing at all without rows', () => {
    expect(table([], pets.columns, style)).toBe('')
  })

  test('shows what a peer sent as harmless text', () => {
    const hostile = { ...cat, name: 'a\u001b[2Jb\r\nc\u202Ed\u009bx' }
    expect(table([hostile], pets.columns, { ...style, headers: false })).toBe(
      'a\\u{1b}[2Jb\\u{d}\\u{a}c\\u{202e}d\\u{9b}x  4\n',
    )
  })
})

test.each([
  ['TCP4:10.0.0.5:80', 16, 'TCP4:10.0.0.5:80'],
  ['TCP4:10.0.0.5:80,connect-timeout=5', 20, 'TCP4:10.0.0.5:80,co…'],
  ['TCP4:10.0.0.5:80,connect-timeout=5', 17, 'TCP4:10.0.0.5:80…'],
  ['TCP4:db.example.com:5432', 16, 'TCP4:db.…om:5432'],
  ['TCP4:db.example.com:5432,connect-timeout=5', 16, 'TCP4:db.…om:5432'],
])('%s in %i columns is %s', (text, width, expected) => {
  expect(shortened(text, width)).toBe(expected)
})

describe('one answer in each format', () => {
  const options = { headers: true }
  test('list', async () => {
    const render = (output: 'json' | 'jsonl' | 'yaml' | 'name') =>
      renderList([cat, bird], pets, { ...options, output })
    const whole = { apiVersion: 'fleetcat/v1', kind: 'PetList', items: [cat, bird] }
    expect(JSON.parse(await render('json'))).toEqual(whole)
    expect(parse(await render('yaml'))).toEqual(whole)
    expect(await render('name')).toBe('pet/Tom\npet/Polly the parrot\n')
    const lines = (await render('jsonl'))
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line))
    expect(lines).toEqual([cat, bird].map(pet => ({ apiVersion: 'fleetcat/v1', ...pet })))
  })

  test('object', async () => {
    expect(JSON.parse(await renderItem(cat, 'pet/Tom', 'json', () => ''))).toEqual({
      apiVersion: 'fleetcat/v1',
      ...cat,
    })
    expect(await renderItem(cat, 'pet/Tom', 'name', () => '')).toBe('pet/Tom\n')
    expect(await renderItem(cat, 'pet/Tom', 'table', () => 'a cat\n')).toBe('a cat\n')
  })
})

test('JSON and YAML mean what they were given, and hold nothing that a terminal would obey', async () => {
  const unsafe = /[\p{Cf}\p{Zl}\p{Zp}\p{Cs}]|(?!\n)\p{Cc}/u
  await fc.assert(
    fc.asyncProperty(fc.dictionary(fc.string(), fc.string({ unit: 'binary' })), async strings => {
      const value = { ...strings, tags: '\u{e0041}\u202e\u001b[31m' }
      const asJson = json(value)
      const asYaml = await yaml(value)
      expect(JSON.parse(asJson)).toEqual(value)
      expect(parse(asYaml)).toEqual(value)
      expect(asJson).not.toMatch(unsafe)
      expect(asYaml).not.toMatch(unsafe)
    }),
  )
})

describe('watching', () => {
  test('prints a line for what is new, has changed, or is gone', () => {
    const lines: unknown[] = []
    const show = changes(pets, line => lines.push(JSON.parse(line)))
    show([cat, bird])
    show([cat, bird])
    show([{ ...cat, legs: 3 }])
    expect(lines).toEqual(
      [
        { ...cat, change: 'added' },
        { ...bird, change: 'added' },
        { ...cat, legs: 3, change: 'changed' },
        { ...bird, change: 'removed' },
      ].map(item => ({ apiVersion: 'fleetcat/v1', ...item })),
    )
  })

  test('draws no more lines than the screen has', () => {
    const shown = page('a\nb\nc\nd\ne\n', { rows: 4 })
    expect(shown.split('\n')).toHaveLength(4)
    expect(shown).toContain('… 3 more')
  })

  test('keeps what a person should know on the screen, below what there is room for', () => {
    const shown = page('a\nb\nc\nd\ne\n', { rows: 6, columns: 9 }, 'one two three')
    const text = stripVTControlCharacters(shown)
    expect(text).toBe('a\n… 4 more\n\none two\nthree\n')
  })
})

describe('colour', () => {
  test('only on a terminal, and never with NO_COLOR', () => {
    const before = { ...process.env }
    try {
      delete process.env.NO_COLOR
      process.env.TERM = 'xterm'
      expect(painter({ isTTY: true })('x', 'red')).toBe('\u001b[31mx\u001b[0m')
      expect(painter({ isTTY: false })('x', 'red')).toBe('x')
      process.env.NO_COLOR = '1'
      expect(painter({ isTTY: true })('x', 'red')).toBe('x')
    } finally {
      process.env = before
    }
  })
})

describe('durations', () => {
  test('what is written is read back', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 366 * 86_400_000 }), ms => {
        expect(parseDuration(formatDuration(ms), '--for')).toBe(ms)
      }),
    )
  })

  test.each(['', '5', 's', '-5s', '5 s', '5x', '1h-3m', '0s', '100000d', '1e3s'])('`%s` is refused', text => {
    expect(() => parseDuration(text, '--for')).toThrow(/--for/)
  })

  test('are short for people', () => {
    expect([0, 999, 42_000, 192_000, 7_500_000, 356_400_000].map(span)).toEqual([
      '0s',
      '0s',
      '42s',
      '3m12s',
      '2h5m',
      '4d3h',
    ])
    expect([0, 1023, 1536, 12 * 1024 * 1024].map(bytes)).toEqual(['0', '1023', '1.5K', '12M'])
  })
})

test('every code of an error has one exit code, and only a few are not 1', () => {
  const exits = Object.fromEntries(
    errorCodes.map(code => [code, exitCodeOf(code)]).filter(([, n]) => n !== 1),
  )
  expect(exits).toEqual({
    usage: 2,
    denied: 3,
    unauthenticated: 3,
    revoked: 3,
    'not-found': 4,
    unsupported: 2,
    conflict: 5,
    'address-in-use': 5,
    'timed-out': 7,
  })
})

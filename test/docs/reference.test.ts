import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { kinds } from '#relay/endpoints/index.ts'
import { root } from '#test/resources/program.ts'
import { addressesPage } from '../../scripts/addresses-page.ts'
import { guidePage } from '../../scripts/guide-page.ts'

const read = (file: string) => readFileSync(join(root, 'docs', file), 'utf8')
const page = read('reference/addresses.md')

describe('the reference of addresses', () => {
  test('is what the table of kinds says: after a change of the table, `npm run docs`', () => {
    expect(page === addressesPage(), 'docs/reference/addresses.md is old: run `npm run docs`').toBe(true)
  })

  test('names every kind, and leads nowhere else', () => {
    for (const { keyword } of kinds) expect(page).toMatch(new RegExp(`^### .*\\b${keyword}\\b`, 'm'))
    const headings = [...page.matchAll(/^#+ (.+)$/gm)].map(([, title = '']) =>
      title
        .toLowerCase()
        .replace(/[^\w\- ]/g, '')
        .replaceAll(' ', '-'),
    )
    expect(new Set(headings).size).toBe(headings.length)
    for (const [, link = ''] of page.matchAll(/\]\(#([^)]+)\)/g)) expect(headings).toContain(link)
  })
})

test('the contents of the guide name its pages: after a new one, `npm run docs`', () => {
  expect(read('guide/README.md') === guidePage(), 'docs/guide/README.md is old: run `npm run docs`').toBe(
    true,
  )
})

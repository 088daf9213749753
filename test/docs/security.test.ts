import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { root } from '../resources/program.ts'

test('every proof that the page of security names is there', () => {
  const page = readFileSync(join(root, 'docs/security.md'), 'utf8')
  const files = [...page.matchAll(/`(test\/[\w./-]+)`/g)].map(([, file = '']) => file)
  expect(files.length).toBeGreaterThan(10)
  expect(files.filter(file => !existsSync(join(root, file)))).toEqual([])
})

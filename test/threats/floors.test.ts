import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'

interface Lock {
  readonly packages: Readonly<Record<string, { readonly version?: string }>>
}

const root = new URL('../../', import.meta.url)
const lock = JSON.parse(await readFile(new URL('package-lock.json', root), 'utf8')) as Lock

/** Releases below these have known holes or lack limits that the controller relies on. */
test.each([
  ['@grpc/grpc-js', '1.14.7'],
  ['node-forge', '1.4.3'],
  ['protobufjs', '7.5.6'],
])('%s is %s or newer wherever it is installed', (name, floor) => {
  const found = Object.entries(lock.packages).filter(([path]) => path.endsWith(`node_modules/${name}`))
  expect(found.length).toBeGreaterThan(0)
  for (const [path, { version = '' }] of found) {
    expect(atLeast(version, floor), `${path} is ${version}`).toBe(true)
  }
})

test('Node is 24 or newer', () => {
  expect(atLeast(process.version.slice(1), '24.0.0'), process.version).toBe(true)
})

test('a floor is compared by numbers', () => {
  expect([atLeast('1.14.7', '1.14.7'), atLeast('1.15.0', '1.14.7'), atLeast('2.0.0', '1.14.7')]).toEqual([
    true,
    true,
    true,
  ])
  expect([atLeast('1.14.6', '1.14.7'), atLeast('1.9.9', '1.14.7'), atLeast('', '1.0.0')]).toEqual([
    false,
    false,
    false,
  ])
})

function atLeast(version: string, floor: string): boolean {
  const [theirs, ours] = [version, floor].map(text => text.split(/[.-]/).slice(0, 3).map(Number))
  for (let i = 0; i < 3; i++) {
    const [a = Number.NaN, b = 0] = [theirs![i], ours![i]]
    if (a !== b) return a > b
  }
  return true
}

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { root } from '../resources/program.ts'

const page = readFileSync(join(root, 'docs/guarantees.md'), 'utf8')

test('every proof that the page of guarantees names is there', () => {
  const files = [...page.matchAll(/`(test\/[\w./-]+)`/g)].map(([, file = '']) => file)
  expect(files.length).toBeGreaterThan(15)
  expect(files.filter(file => !existsSync(join(root, file)))).toEqual([])
})

test('every command that it names is one of package.json, with a part that it knows', () => {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const commands = [...page.matchAll(/npm run (\w+)(?: -- ([\w-]+))?/g)]
  expect(commands.length).toBeGreaterThan(5)
  for (const [, script = '', part] of commands) {
    const entry = /test\/\w+\/main\.ts/.exec(scripts[script] ?? '')?.[0]
    expect(entry, script).toBeDefined()
    if (part) expect(knows(entry!, part), `${script} ${part}`).toBe(true)
  }
})

function knows(entry: string, part: string): boolean {
  const folder = join(root, entry, '..')
  return (
    existsSync(join(folder, 'benches', `${part}.ts`)) || new RegExp(`^  ${part}: \\{`, 'm').test(read(entry))
  )
}

function read(path: string): string {
  return readFileSync(join(root, path), 'utf8')
}

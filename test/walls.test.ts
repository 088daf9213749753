import { globSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { describe, expect, test } from 'vitest'

const root = join(import.meta.dirname, '..')

/** What each folder may import of ours. `relay/errors.ts` names one file, `relay/` all of them. */
const allowed: Record<string, readonly string[]> = {
  relay: [],
  identity: [],
  disk: ['relay/errors.ts'],
  tunnel: ['relay/', 'identity/'],
  telemetry: ['relay/errors.ts', 'wire/host-port.ts'],
  wire: ['proto/gen/', 'relay/errors.ts', 'relay/nearest.ts', 'identity/errors.ts', 'identity/name.ts'],
  controller: [
    'proto/gen/',
    'disk/',
    'identity/',
    'wire/',
    'telemetry/',
    // The grammar, the table and what timers can wait, never an open socket.
    'relay/address.ts',
    'relay/endpoints/index.ts',
    'relay/errors.ts',
    'relay/ip.ts',
    'relay/nearest.ts',
    'relay/options.ts',
    'relay/timer.ts',
    // Tickets, which it mints, and the place where the ends of tunnels meet: it sees no byte of what they say.
    'tunnel/arrivals.ts',
    'tunnel/rendezvous.ts',
    'tunnel/ticket.ts',
  ],
  agent: ['proto/gen/', 'disk/', 'relay/', 'identity/', 'tunnel/', 'wire/', 'telemetry/'],
  cli: ['proto/gen/', 'relay/', 'identity/', 'tunnel/', 'wire/', 'telemetry/'],
}

/** The commands that start an agent or a controller, or read or copy its state, are the only ones of the CLI that import one. */
const starters: Record<string, readonly string[]> = {
  'cli/audit-verify.ts': ['controller/store/sqlite/copy.ts'],
  'cli/commands/agent.ts': ['agent/main.ts'],
  'cli/commands/controller.ts': ['controller/main.ts'],
  'cli/commands/controller-backup.ts': ['controller/backup/'],
  'cli/commands/up.ts': ['agent/main.ts', 'controller/main.ts'],
}

const imports = /(?:\bfrom\s+|\bimport\s*\(?\s*)['"]([^'"]+)['"]/g
const aliases: Record<string, string> = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).imports

function resolve(from: string, specifier: string): string | undefined {
  if (specifier.startsWith('.')) return relative(root, join(root, dirname(from), specifier))
  if (!specifier.startsWith('#')) return undefined
  const name = specifier.slice(0, specifier.indexOf('/'))
  const target = aliases[`${name}/*`]
  if (!target) throw new Error(`${from} imports ${specifier}, which package.json does not know`)
  return join(target.replace('*', specifier.slice(name.length + 1)))
}

function trespasses(folder: string): string[] {
  const found: string[] = []
  for (const file of globSync(`${folder}/**/*.ts`, { cwd: root })) {
    const may = [`${folder}/`, ...(allowed[folder] ?? []), ...(starters[file] ?? [])]
    for (const [, specifier = ''] of readFileSync(join(root, file), 'utf8').matchAll(imports)) {
      const target = resolve(file, specifier)
      if (target === undefined || target === 'package.json') continue
      const inside = may.some(each => (each.endsWith('/') ? target.startsWith(each) : target === each))
      if (!inside) found.push(`${file} imports ${target}`)
    }
  }
  return found
}

describe('the walls between the folders', () => {
  for (const folder of Object.keys(allowed)) {
    test(`${folder}/ imports only what it may`, () => {
      expect(trespasses(folder)).toEqual([])
    })
  }

  test('no folder of code stands outside of the walls', () => {
    const folders = new Set(
      globSync('*/**/*.ts', { cwd: root, exclude: ['node_modules'] }).map(file => file.split('/')[0]),
    )
    expect([...folders].filter(folder => folder && !(folder in allowed)).sort()).toEqual([
      'proto',
      'scripts',
      'test',
    ])
  })
})

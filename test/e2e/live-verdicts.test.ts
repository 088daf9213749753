import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import { needing } from '../resources/needs.ts'
import { launcher } from '../resources/program.ts'
import { screenOf } from '../resources/screen.ts'
import { startInTerminal } from '../resources/terminal-program.ts'
import { until } from '../resources/until.ts'
import { type Fleet, openFleet } from './fleet.ts'

/** More than a caller may watch one by one. */
const many = 50

const size = { rows: 12, columns: 90 }

async function openTerminal(fleet: Fleet, words: readonly string[], more: Record<string, string> = {}) {
  const env = { FLEETCAT_HOME: join(fleet.folder, 'home'), TERM: 'xterm', NO_COLOR: '1', ...more }
  const terminal = await startInTerminal([launcher, ...words], { env, size })
  const lines = () => screenOf(terminal.shown(), size.rows, size.columns).filter(Boolean)
  return Object.assign(terminal, {
    screen: () => lines().join('\n'),
    has: (pattern: RegExp) => until(`${pattern} is on the screen`, () => pattern.test(lines().join('\n'))),
  })
}

async function createOn(fleet: Fleet, name: string, agents: readonly string[], ...more: string[]) {
  const on = agents.flatMap(agent => ['--on', agent])
  await fleet.cat(['create', name, ...on, 'TCP4-LISTEN:0,bind=127.0.0.1', 'ECHO', '--wait', ...more])
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: that is what colours are
const colours = /\u001b\[\d+m/

needing('setsid')(
  'on a terminal, verdicts fill in where they stand, and stay there',
  async () => {
    await using fleet = await openFleet()
    await fleet.startController()
    await fleet.startAgent('edge-1')
    const slow = await fleet.startAgent('edge-2')
    await createOn(fleet, 'web', ['edge-1', 'edge-2'])

    slow.kill('SIGSTOP')
    await using terminal = await openTerminal(fleet, ['revoke', 'relay/web'])
    await terminal.has(/edge-1 +cut \(0 connections, 1 listener, \d+ ms\)\nedge-2 +pending/)
    slow.kill('SIGCONT')
    const { code } = await terminal.ended
    const id = /\((v-[^)]+)\)/.exec(terminal.screen())?.[1]
    expect(terminal.screen()).toMatch(
      /^relay\/web revoked \(v-\S+\)\nAGENT +VERDICT\nedge-1 +cut \(0 connections, 1 listener, \d+ ms\)\nedge-2 +cut \(0 connections, 1 listener, \d+ ms\)$/,
    )
    expect(code).toBe(0)
    expect(terminal.shown()).not.toMatch(colours)
    expect(terminal.shown()).toContain('pending')

    await using colourful = await openTerminal(fleet, ['revoke', 'relay/web'], { NO_COLOR: '' })
    expect((await colourful.ended).code).toBe(0)
    expect(colourful.screen()).toContain(`relay/web already revoked (${id})`)
    expect(colourful.shown()).toMatch(colours)

    await using scripted = await openTerminal(fleet, ['revoke', 'relay/web', '-o', 'json'])
    expect((await scripted.ended).code).toBe(0)
    expect(JSON.parse(screenOf(scripted.shown(), 100).join('\n'))).toMatchObject({ kind: 'Revocation', id })
  },
  60_000,
)

needing('setsid')(
  'of more verdicts than there is room for, a terminal shows counts, a bar and exceptions',
  async () => {
    await using fleet = await openFleet()
    await fleet.startController()
    await fleet.startAgent('edge-1')
    const relays = Array.from({ length: many }, (_, i) => ({
      apiVersion: 'fleetcat/v1',
      kind: 'Relay',
      metadata: { name: `web-${i}`, labels: { team: 'web' } },
      spec: { agents: ['edge-1'], listen: 'TCP4-LISTEN:0,bind=127.0.0.1', targets: ['ECHO'] },
    }))
    const file = join(fleet.folder, 'relays.yaml')
    await writeFile(file, relays.map(relay => `---\n${JSON.stringify(relay)}\n`).join(''))
    await fleet.cat(['apply', '-f', file])
    await until('all are ready', async () => {
      const { items } = await fleet.json(['list'])
      return items.every((item: { status: { state: string } }) => item.status.state === 'ready')
    })

    await using terminal = await openTerminal(fleet, ['revoke', '-l', 'team=web'])
    await terminal.has(/Revoke these 50\? \[y\/N\]/)
    expect(terminal.screen()).toMatch(/50 relays would be revoked on 1 agent, cutting 0 connections\n/)
    terminal.type('y\n')
    expect((await terminal.ended).code).toBe(0)
    expect(terminal.screen()).toMatch(
      /50 targets revoked\n\[█{50}\] 50 of 50 verdicts\n50 cut \(0 connections\)$/,
    )
  },
  60_000,
)

needing('setsid')(
  'who leaves with Ctrl-C is told that the order stands, and finds a terminal as it was',
  async () => {
    await using fleet = await openFleet()
    await fleet.startController()
    const slow = await fleet.startAgent('edge-1')
    await createOn(fleet, 'web', ['edge-1'])
    slow.kill('SIGSTOP')
    await using terminal = await openTerminal(fleet, ['revoke', 'relay/web'])
    await terminal.has(/edge-1 +pending/)
    terminal.type('\u0003')
    expect((await terminal.ended).code).toBe(130)
    await terminal.has(
      /edge-1 +pending\n.*The order stands all the same; see `fleetcat wait relay\/web --for revoked`/,
    )
    expect(terminal.shown().lastIndexOf('\u001b[?7h')).toBeGreaterThan(
      terminal.shown().lastIndexOf('\u001b[?7l'),
    )
    expect(terminal.shown().lastIndexOf('\u001b[?25h')).toBeGreaterThan(
      terminal.shown().lastIndexOf('\u001b[?25l'),
    )
    slow.kill('SIGCONT')
    await fleet.cat(['wait', 'relay/web', '--for', 'revoked'])
  },
  60_000,
)

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer as createTlsServer } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { needing } from '../resources/needs.ts'
import { openPki } from '../resources/pki.ts'
import { freePort } from '../resources/ports.ts'
import { launcher, type Program, root, run, startProgram } from '../resources/program.ts'
import { screenOf } from '../resources/screen.ts'
import { openServer } from '../resources/servers.ts'
import { startInTerminal } from '../resources/terminal-program.ts'
import { until } from '../resources/until.ts'
import { type Fleet, openFleet } from './fleet.ts'

const patience = 60_000
let held: AsyncDisposableStack
let fleet: Fleet
let second: Program
let env: Record<string, string>

beforeAll(async () => {
  held = new AsyncDisposableStack()
  fleet = held.use(await openFleet())
  env = { FLEETCAT_HOME: join(fleet.folder, 'home') }
  await fleet.startController()
  // Authorities that a test makes are files, which no ceiling permits by itself.
  const args = ['--permit', `OPEN:${tmpdir()}/**,rdonly`]
  await fleet.startAgent('edge-1', { labels: { site: 'paris' }, args })
  second = await fleet.startAgent('edge-2', { labels: { site: 'paris' } })
}, patience)
afterAll(() => held.disposeAsync())

const taking = () => openServer(socket => socket.resume().once('end', () => socket.end()))

/** What one agent sees, as a script has it. */
async function look(address: string, exitCode: number, ...more: string[]) {
  const words = ['probe', address, '--on', 'edge-1', '-o', 'json', ...more]
  const { apiVersion, kind, items } = JSON.parse((await fleet.cat(words, exitCode)).stdout)
  expect({ apiVersion, kind }).toEqual({ apiVersion: 'fleetcat/v1', kind: 'ProbeList' })
  expect(items).toHaveLength(1)
  return items[0]
}

describe('what one host sees of a target', () => {
  test(
    'open, in a shape that stays',
    async () => {
      await using server = await taking()
      const target = `TCP4:127.0.0.1:${server.port}`
      expect(await look(target, 0)).toEqual({
        kind: 'Probe',
        agent: 'edge-1',
        target,
        at: expect.stringMatching(/^\d{4}-.*Z$/),
        verdict: 'open',
        ip: '127.0.0.1',
        resolveMs: null,
        connectMs: expect.any(Number),
        tlsMs: null,
        firstByteMs: null,
        tookMs: expect.any(Number),
        code: null,
        error: null,
      })
      expect((await fleet.cat(['probe', target, '--on', 'edge-1', '-o', 'name'])).stdout).toBe(
        'agent/edge-1\n',
      )
    },
    patience,
  )

  test(
    'refused is not silent, nor unresolved, nor denied: each has its word, and the exit code is 1',
    async () => {
      await using server = await taking()
      const silent = `TCP4:127.0.0.1:${server.port}`
      const refused = `TCP4:127.0.0.1:${await freePort()}`
      const verdict = async (...words: [string, ...string[]]) => {
        const [address, ...more] = words
        return (await look(address, 1, ...more)).verdict
      }
      expect(await verdict(refused)).toBe('refused')
      expect(await verdict(silent, '--expect-byte', '--timeout', '200ms')).toBe('silent')
      expect(await verdict('TCP4:nobody.invalid:80')).toBe('unresolved')
      expect(await verdict('TCP4:169.254.169.254:80')).toBe('denied')
    },
    patience,
  )

  needing('python3')(
    'timed out is a host that does not answer, after the time that was given',
    async () => {
      const port = await freePort()
      const script = join(root, 'test/resources/full-backlog.py')
      await using stuck = startProgram(['python3', script, String(port)])
      await stuck.says(/full/)
      const address = `TCP4:127.0.0.1:${port}`
      expect(await look(address, 1, '--timeout', '300ms')).toMatchObject({
        verdict: 'timed-out',
        ip: '127.0.0.1',
        code: 'timed-out',
        error: 'no answer within 300 ms',
      })
      const { stdout } = await fleet.cat(['probe', address, '--on', 'edge-1', '--timeout', '300ms'], 1)
      expect(stdout).toMatch(/edge-1 +127\.0\.0\.1 .*timed out +no answer/)
    },
    patience,
  )

  needing('openssl')(
    'a TLS error says which, and a good handshake how long it took',
    async () => {
      using pki = openPki()
      const cases = [
        [{ name: 'localhost', alt: 'DNS:localhost' }, 0, null],
        [{ name: 'other', alt: 'DNS:other.example' }, 1, /is for .*other\.example/],
        [{ name: 'localhost', alt: 'DNS:localhost', expired: true }, 1, /has expired/],
        [{ name: 'localhost', alt: 'DNS:localhost', alone: true }, 1, /not trusted here/],
      ] as const
      for (const [issue, code, why] of cases) {
        const { cert, key } = pki.issue(issue)
        const server = createTlsServer({ cert: readFileSync(cert), key: readFileSync(key) }, socket =>
          socket.on('error', () => {}).resume(),
        )
        server.on('tlsClientError', () => {}).listen(0, '127.0.0.1')
        await once(server, 'listening')
        const { port } = server.address() as { port: number }
        const address = `OPENSSL:localhost:${port},pf=ip4,cafile=${pki.ca}`
        const item = await look(address, code)
        if (why) {
          expect(item).toMatchObject({ verdict: 'tls-error', tlsMs: null, code: 'unauthenticated' })
          expect(item.error).toMatch(why)
        } else expect(item).toMatchObject({ verdict: 'open', tlsMs: expect.any(Number) })
        server.close()
        await once(server, 'close')
      }
    },
    patience,
  )
})

describe('exit codes', () => {
  test(
    '2 for words that are wrong, with the nearest right one; 4 for agents that are not there',
    async () => {
      const says = async (code: number, ...words: string[]) =>
        (await fleet.cat(['probe', ...words], code)).stderr
      expect(await says(2, 'TPC4:127.0.0.1:80', '--on', 'edge-1')).toContain('Did you mean `TCP4`?')
      expect(await says(2, 'TCP4:127.0.0.1:80', '--timout', '1s')).toContain('Did you mean --timeout?')
      expect(await says(2, 'TCP4:127.0.0.1:80', '--on', 'edge-1', '--timeout', '1')).toContain('Write 1s')
      expect(await says(2, 'TCP4:127.0.0.1:80', '--on', 'edge-1', '--timeout', '11s')).toContain('10s')
      expect(await says(2, 'TCP4:127.0.0.1:80', '--on', 'edge-1', '--every', '10ms')).toContain('1s')
      expect(await says(2, 'EXEC:/bin/true', '--on', 'edge-1')).toContain('Probes make sense for TCP')
      expect(await says(2, 'TCP4:127.0.0.1:80')).toContain('Add --on edge-1')
      expect(await says(2, 'TCP4:127.0.0.1:80', '-l', 'site=(')).toContain('selector')
      expect(await says(2, 'TCP4:127.0.0.1:80\u001b[2J', '--on', 'edge-1')).not.toContain('\u001b')
      expect(await says(4, 'TCP4:127.0.0.1:80', '-l', 'site=rome')).toContain('no agent matches')
      expect(await says(4, 'TCP4:127.0.0.1:80', '--on', 'edge-3')).toContain('Did you mean')
    },
    patience,
  )

  test(
    'above 1, and not 1, when nobody could be asked',
    async () => {
      const nowhere = { FLEETCAT_HOME: join(fleet.folder, 'nobody') }
      const { code } = await run([launcher, 'probe', 'TCP4:127.0.0.1:80', '-l', 'a=b'], { env: nowhere })
      expect(code).toBeGreaterThan(1)
    },
    patience,
  )
})

describe('of several agents', () => {
  const fields = (text: string) => text.split('\n').map(line => line.split(/ {2,}/))

  test(
    'a row each, in the order of their names',
    async () => {
      await using server = await taking()
      const { stdout } = await fleet.cat(['probe', `TCP4:127.0.0.1:${server.port}`, '-l', 'site=paris'])
      const [title, ...rows] = fields(stdout.trimEnd())
      expect(title).toEqual(['AGENT', 'ADDRESS', 'CONNECT-MS', 'TLS-MS', 'BYTE-MS', 'VERDICT', 'WHY'])
      expect(rows.map(([agent]) => agent)).toEqual(['edge-1', 'edge-2'])
      for (const row of rows) expect(row.slice(-2)).toEqual(['open', '-'])
    },
    patience,
  )

  test(
    'repeated: a line each, every time, until Ctrl-C; and the log has each time',
    async () => {
      await using server = await taking()
      const target = `TCP4:127.0.0.1:${server.port}`
      const words = ['probe', target, '-l', 'site=paris', '--every', '1s', '-o', 'jsonl']
      await using eye = startProgram([launcher, ...words], { env })
      const lines = () => eye.output().split('\n').filter(Boolean)
      await until('there were two rounds', () => lines().length >= 4)
      await server[Symbol.asyncDispose]()
      await eye.says(/"verdict":"refused"/)
      eye.kill('SIGINT')
      const { code, stderr } = await eye.ended
      expect({ code, stderr }).toEqual({ code: 130, stderr: '' })
      const items = lines().map(line => JSON.parse(line))
      expect(new Set(items.map(({ agent }) => agent))).toEqual(new Set(['edge-1', 'edge-2']))
      expect(items[0]).toMatchObject({ apiVersion: 'fleetcat/v1', kind: 'Probe', target, verdict: 'open' })
      const rows = await fleet.cat(['audit', '--event', 'probed', '-o', 'jsonl'])
      expect(rows.stdout.split(target).length).toBeGreaterThan(2)
    },
    patience,
  )

  needing('setsid')(
    'on a terminal rows fill in where they stand, and of one that stands still it is said in the end',
    async () => {
      await using server = await taking()
      const size = { rows: 12, columns: 120 }
      second.kill('SIGSTOP')
      try {
        const words = ['probe', `TCP4:127.0.0.1:${server.port}`, '-l', 'site=paris', '--timeout', '100ms']
        await using terminal = await startInTerminal([launcher, ...words], {
          env: { ...env, TERM: 'xterm', NO_COLOR: '1' },
          size,
        })
        const screen = () => screenOf(terminal.shown(), size.rows, size.columns).filter(Boolean).join('\n')
        await until('one is there, one is awaited', () =>
          /edge-1 .* open.*\nedge-2 .* pending/.test(screen()),
        )
        expect((await terminal.ended).code).toBe(6)
        expect(screen()).toMatch(/edge-1 .* open.*\nedge-2 .* unreachable +(it did not answer|its session)/)
      } finally {
        second.kill('SIGCONT')
      }
    },
    patience,
  )

  needing('setsid')(
    'a repeated one is drawn over itself, with the time of its last round',
    async () => {
      const size = { rows: 12, columns: 120 }
      const words = ['probe', `TCP4:127.0.0.1:${await freePort()}`, '--on', 'edge-1', '--every', '1s']
      await using terminal = await startInTerminal([launcher, ...words], {
        env: { ...env, TERM: 'xterm', NO_COLOR: '1' },
        size,
      })
      const screen = () => screenOf(terminal.shown(), size.rows, size.columns).filter(Boolean).join('\n')
      const at = () => /every 1s, last at (\S+);[^\n]*\nAGENT.*\nedge-1 .* refused/.exec(screen())?.[1]
      const first = await until('there was a round', at)
      await until('there was another', () => at() && at() !== first)
      expect(screen().match(/AGENT/g)).toHaveLength(1)
      terminal.type('\u0003')
      expect((await terminal.ended).code).toBe(130)
    },
    patience,
  )

  test(
    'exit 6 when one is away, whatever the others saw',
    async () => {
      second.kill('SIGKILL')
      await second.ended
      await using server = await taking()
      for (const port of [server.port, await freePort()]) {
        const words = ['probe', `TCP4:127.0.0.1:${port}`, '-l', 'site=paris', '-o', 'json']
        const { stdout } = await fleet.cat(words, 6)
        expect(JSON.parse(stdout).items[1]).toMatchObject({
          agent: 'edge-2',
          verdict: 'unreachable',
          ip: null,
        })
      }
    },
    patience,
  )
})

import { chmod, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import { type Fleet, openFleet } from '../e2e/fleet.ts'
import { needing } from '../resources/needs.ts'
import { freePort } from '../resources/ports.ts'
import { startPostgres } from '../resources/postgres.ts'
import { run, startProgram } from '../resources/program.ts'
import { follow, permitted, readPage } from './guide.ts'

const name = '07-tcp-to-unix-socket'
const patience = 60_000

async function openEdge(fleet: Fleet, sockets: string) {
  const port = String(await freePort())
  const page = readPage(name, { '/var/run/postgresql': sockets, 15432: port })
  await fleet.startController()
  await fleet.startAgent('edge-1', permitted(page))
  return { page, port }
}

needing(
  'psql',
  'pg_config',
  'setpriv',
  'bash',
)(
  'psql reaches a PostgreSQL that has a Unix socket only, as the guide has it',
  async () => {
    await using fleet = await openFleet()
    const sockets = join(fleet.folder, 'postgresql')
    await mkdir(sockets)
    await chmod(sockets, 0o777)
    await chmod(fleet.folder, 0o755)
    await using _postgres = await startPostgres({ folder: sockets })
    const { page, port } = await openEdge(fleet, sockets)

    const { code, stdout, stderr } = await follow(page, fleet)
    expect(stderr).not.toMatch(/fleetcat:/)
    expect(code).toBe(0)
    expect(stdout).toContain('hello from postgres')

    const rows = await run([
      'psql',
      '-h',
      '127.0.0.1',
      '-p',
      port,
      '-U',
      'postgres',
      '-Atc',
      'select * from generate_series(1, 200000)',
    ])
    expect(rows.stdout.trimEnd().split('\n')).toHaveLength(200_000)
  },
  patience,
)

needing('socat')(
  'a live conversation with a Unix socket is listed and cut, and other sockets stay out of reach',
  async () => {
    await using fleet = await openFleet()
    const sockets = join(fleet.folder, 'postgresql')
    await mkdir(sockets)
    const path = join(sockets, '.s.PGSQL.5432')
    await using server = startProgram([
      'socat',
      '-d',
      '-d',
      `UNIX-LISTEN:${path},fork`,
      'SYSTEM:echo hello; cat',
    ])
    await server.says(/listening/)
    const { page, port } = await openEdge(fleet, sockets)
    const [create = ''] = page.commands
    await fleet.cat(create.split(' ').slice(1))

    await using client = startProgram(['socat', '-d', '-u', `TCP4:127.0.0.1:${port}`, '-'])
    await client.says(/hello/)
    const { items } = await fleet.json(['connections'])
    expect(items).toMatchObject([{ agent: 'edge-1', target: `UNIX-CONNECT:${path}` }])
    await fleet.cat(['revoke', 'relay/pg', '--reason', 'the end of the test'])
    expect((await client.ended).stderr).toMatch(/Connection reset by peer/)

    const elsewhere = create.replace('create pg', 'create other').replace(path, '/run/docker.sock')
    const refused = await fleet.cat(elsewhere.split(' ').slice(1), 6)
    expect(refused.stdout + refused.stderr).toContain(
      'add "UNIX-CONNECT:/run/docker.sock" under permit: in agent.yaml',
    )
  },
  patience,
)

import { chmod, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import { openFleet } from '../e2e/fleet.ts'
import { needing } from '../resources/needs.ts'
import { freePort } from '../resources/ports.ts'
import { startPostgres } from '../resources/postgres.ts'
import { run } from '../resources/program.ts'
import { follow, readPage } from './guide.ts'

needing(
  'psql',
  'pg_config',
  'setpriv',
  'bash',
)(
  'psql reaches a PostgreSQL on the loopback of another host, as the guide has it',
  async () => {
    await using fleet = await openFleet()
    const folder = join(fleet.folder, 'postgresql')
    await mkdir(folder)
    await chmod(folder, 0o777)
    await chmod(fleet.folder, 0o755)
    const served = await freePort()
    const port = String(await freePort())
    await using _postgres = await startPostgres({ folder, port: served })
    const page = readPage('04-service-of-another-host', { 15432: port, ':5432': `:${served}` })
    await fleet.startController()
    await fleet.startAgent('app-1')
    await fleet.startAgent('db-1')

    const { code, stdout, stderr } = await follow(page, fleet)
    expect(stderr).not.toMatch(/fleetcat:/)
    expect(code).toBe(0)
    expect(stdout).toContain('hello from postgres')
    expect(stdout).toMatch(/app-1 +cut .*\n.*db-1 +cut/)
    const after = await run(['psql', '-h', '127.0.0.1', '-p', port, '-U', 'postgres', '-c', 'select 1'])
    expect(after.stderr).toContain('Connection refused')
  },
  60_000,
)

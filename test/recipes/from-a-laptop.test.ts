import { chmod, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import { openFleet } from '../e2e/fleet.ts'
import { needing } from '../resources/needs.ts'
import { freePort } from '../resources/ports.ts'
import { startPostgres } from '../resources/postgres.ts'
import { launcher, run } from '../resources/program.ts'
import { openServer } from '../resources/servers.ts'
import { startSshServer } from '../resources/ssh-server.ts'
import { follow, readPage, startKept } from './guide.ts'

needing(
  'psql',
  'pg_config',
  'setpriv',
  'curl',
  'ssh',
  'sshd',
  'root',
  'bash',
)(
  'psql, curl and ssh reach three services of other hosts from a laptop, which is seen, and is revoked, as the guide has it',
  async () => {
    await using held = new AsyncDisposableStack()
    const fleet = held.use(await openFleet())
    const server = await freePort()
    const [database, web] = [await freePort(), await freePort()]
    const folder = join(fleet.folder, 'postgresql')
    await mkdir(folder)
    await chmod(folder, 0o777)
    await chmod(fleet.folder, 0o755)
    held.use(await startPostgres({ folder, port: server }))
    const site = held.use(
      await openServer(socket => {
        socket.once('data', () => socket.end('HTTP/1.0 200 OK\r\n\r\nhello from the web\n')).resume()
      }),
    )
    const sshd = held.use(await startSshServer())
    const page = readPage('from-a-laptop', {
      '127.0.0.1:5432': `127.0.0.1:${server}`,
      '127.0.0.1:80 ': `127.0.0.1:${site.port} `,
      '127.0.0.1:22': `127.0.0.1:${sshd.port}`,
      ' 25432': ` ${database}`,
      ' 18080': ` ${web}`,
      ':18080': `:${web}`,
      'ssh -o': `ssh -F ${sshd.clientConfig} -o`,
    })
    await fleet.startController()
    for (const name of ['db-1', 'web-1']) await fleet.startAgent(name)
    const token = ['token', 'create', 'operator', '--name', 'ann', '--role', 'operator']
    const home = join(fleet.folder, 'ann')
    const login = await run([launcher, 'login', (await fleet.json(token)).token], {
      env: { FLEETCAT_HOME: home },
    })
    expect(login).toMatchObject({ code: 0 })
    await using kept = startKept(page, fleet, home)
    const [forward] = kept.programs
    await forward!.says(/leads to @web-1/)

    const { code, stdout, stderr } = await follow(page, fleet)
    expect(stderr).not.toMatch(/fleetcat:/)
    expect(code).toBe(0)
    expect(stdout).toContain('hello to a laptop')
    expect(stdout).toContain('hello from the web')
    expect(stdout).toContain('hello from a shell')
    expect(stdout).toMatch(/tunnel.opened/)

    const ended = await forward!.ended
    expect(ended.stderr).toContain('revoked')
    expect(ended.code).toBe(3)
  },
  90_000,
)

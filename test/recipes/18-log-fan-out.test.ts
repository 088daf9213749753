import { chmod, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { expect } from 'vitest'
import { openFleet } from '../e2e/fleet.ts'
import { needing } from '../resources/needs.ts'
import { freePort } from '../resources/ports.ts'
import { run } from '../resources/program.ts'
import { until } from '../resources/until.ts'
import { follow, permitted, readPage } from './guide.ts'

const lines = Array.from({ length: 2_000 }, (_, n) => `line ${n} of the application\n`).join('')

needing('bash', 'socat')(
  'a log goes to the log host and into a file here, byte for byte, as the guide has it',
  async () => {
    await using fleet = await openFleet()
    let heard = ''
    const server = createServer(socket => socket.on('data', chunk => (heard += chunk)))
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    await using _ = { [Symbol.asyncDispose]: () => new Promise<void>(done => server.close(() => done())) }
    const { port } = server.address() as { port: number }
    const listen = await freePort()
    const page = readPage('18-log-fan-out', {
      '@logs/TCP4:127.0.0.1:5140': `@logs/TCP4:127.0.0.1:${port}`,
      'TCP4-LISTEN:5140': `TCP4-LISTEN:${listen}`,
      '/var/log/app': fleet.folder,
    })
    const app = join(fleet.folder, 'app')
    await writeFile(join(fleet.folder, 'lines'), lines)
    await writeFile(app, `#!/bin/sh\ncat lines\n`)
    await chmod(app, 0o755)
    await fleet.startController()
    await fleet.startAgent('logs')
    await fleet.startAgent('web-1', { labels: { tier: 'web' }, ...permitted(page) })

    const { code, stderr } = await follow(page, fleet)
    expect(stderr).not.toMatch(/fleetcat:/)
    expect(code).toBe(0)
    await until('the log host has all', () => heard.length >= lines.length)
    expect(heard).toBe(lines)
    expect(await readFile(join(fleet.folder, 'local.log'), 'utf8')).toBe(lines)

    heard = ''
    await run(['socat', '-u', '-', `TCP4:127.0.0.1:${listen}`], { input: lines })
    await until('the log host has the rest', () => heard.length >= lines.length)
    await until('the host has it too', async () => {
      return (await readFile(join(fleet.folder, 'all.log'), 'utf8').catch(() => '')) === lines
    })
  },
  60_000,
)

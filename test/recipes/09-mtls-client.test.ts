import { copyFile, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import { openFleet } from '../e2e/fleet.ts'
import { needing } from '../resources/needs.ts'
import { openPki } from '../resources/pki.ts'
import { freePort } from '../resources/ports.ts'
import { startProgram } from '../resources/program.ts'
import { openServer } from '../resources/servers.ts'
import { follow, permitted, readPage } from './guide.ts'

needing('openssl', 'curl', 'bash')(
  'a client certificate for a program that has none, as the guide has it',
  async () => {
    using pki = openPki()
    const server = pki.issue({ name: 'api', alt: 'DNS:localhost' })
    const app = pki.issue({ name: 'app-1', usage: 'clientAuth' })
    const apiPort = await freePort()
    await using api = startProgram([
      ...['openssl', 's_server', '-accept', `localhost:${apiPort}`, '-cert', server.cert, '-key', server.key],
      ...['-CAfile', pki.ca, '-Verify', '1', '-verify_return_error', '-www'],
    ])
    await api.says(/ACCEPT/)
    await using orders = await openServer(socket => {
      socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\norders\n')).resume()
    })
    await using fleet = await openFleet()
    await fleet.startController()
    const { cluster } = await fleet.json(['status'])
    const files = join(fleet.folder, 'tls')
    await mkdir(files)
    await copyFile(app.cert, join(files, 'app.pem'))
    await copyFile(app.key, join(files, 'app.key'))
    await copyFile(pki.ca, join(files, 'ca.pem'))
    const page = readPage('09-mtls-client', {
      '/etc/fleetcat/tls': files,
      'OPENSSL:api.example.com:443': `OPENSSL:localhost:${apiPort}`,
      9443: String(await freePort()),
      9444: String(await freePort()),
      9445: String(await freePort()),
      '127.0.0.1:8080': `127.0.0.1:${orders.port}`,
      'spiffe://prod/relay': `spiffe://${cluster}/relay`,
    })
    await fleet.startAgent('app-1', permitted(page))

    const { code, stdout, stderr } = await follow(page, fleet)
    expect(stderr).not.toMatch(/fleetcat:/)
    expect(code).toBe(0)
    expect(stdout).toMatch(/Cipher is TLS_/)
    expect(stdout).toContain('orders\n')
    expect(api.output()).toMatch(/depth=0 CN ?= ?app-1\s+verify return:1/)

    const [create = ''] = page.commands
    const elsewhere = create.replace('create api', 'create other').replace(`${files}/app.key`, '/etc/shadow')
    const refused = await fleet.cat(elsewhere.split(' ').slice(1), 6)
    expect(refused.stdout + refused.stderr).toContain(
      'add "OPEN:/etc/shadow,rdonly" under permit: in agent.yaml',
    )
  },
  60_000,
)

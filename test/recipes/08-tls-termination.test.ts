import { copyFile, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import { openFleet } from '../e2e/fleet.ts'
import { needing } from '../resources/needs.ts'
import { openPki } from '../resources/pki.ts'
import { freePort } from '../resources/ports.ts'
import { run } from '../resources/program.ts'
import { openServer } from '../resources/servers.ts'
import { until } from '../resources/until.ts'
import { follow, permitted, readPage } from './guide.ts'

/** A fleet with one host, a plain web server there, and the files of the page; the key is still missing. */
async function openEdge() {
  const held = new AsyncDisposableStack()
  const pki = held.use(openPki())
  const web = held.use(
    await openServer(socket => {
      socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhello\n')).resume()
    }),
  )
  const fleet = held.use(await openFleet())
  const files = join(fleet.folder, 'tls')
  await mkdir(files)
  const { cert, key } = pki.issue({ name: 'localhost', alt: 'DNS:localhost' })
  await copyFile(cert, join(files, 'web.pem'))
  await copyFile(pki.ca, join(fleet.folder, 'ca.pem'))
  const port = String(await freePort())
  const internal = String(await freePort())
  const page = readPage('08-tls-termination', {
    '/etc/fleetcat/tls': files,
    '127.0.0.1:8080': `127.0.0.1:${web.port}`,
    8443: port,
    8444: internal,
    '/var/lib/fleetcat/controller': join(fleet.folder, 'controller'),
  })
  await fleet.startController()
  await fleet.startAgent('edge-1', permitted(page))
  return {
    fleet,
    page,
    port,
    bringKey: () => copyFile(key, join(files, 'web.key')),
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  }
}

needing('openssl', 'curl', 'bash')(
  'TLS in front of a plain web server, as the guide has it',
  async () => {
    await using edge = await openEdge()
    await edge.bringKey()
    const { code, stdout, stderr } = await follow(edge.page, edge.fleet)
    expect(stderr).not.toMatch(/fleetcat:/)
    expect(code).toBe(0)
    expect(stdout.match(/hello/g)).toHaveLength(2)

    const distrustful = await run(['curl', '-sS', `https://localhost:${edge.port}/`])
    expect(distrustful).toMatchObject({ code: 60, stdout: '' })
    const plain = await run(['curl', '-sS', `http://localhost:${edge.port}/`])
    expect(plain.code).not.toBe(0)
  },
  60_000,
)

needing('openssl', 'curl', 'bash')(
  'a relay whose key is missing says so, and opens by itself once it is there',
  async () => {
    await using edge = await openEdge()
    const { fleet, page } = edge
    const [create = '', curl = ''] = page.commands
    await fleet.cat(create.replace(' --wait', '').split(' ').slice(1))
    await until('the agent has told what is missing', async () =>
      (await fleet.cat(['describe', 'relay/web'])).stdout.match(/key \S+web\.key: no such file/),
    )
    await edge.bringKey()
    await fleet.cat(['wait', 'relay/web', '--for', 'ready', '--timeout', '40s'])
    const { stdout } = await follow({ ...page, commands: [curl] }, fleet)
    expect(stdout).toBe('hello\n')
  },
  90_000,
)

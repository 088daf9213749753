import { mkdir, readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import { openFleet } from '../e2e/fleet.ts'
import { needing } from '../resources/needs.ts'
import { openNginx } from '../resources/nginx.ts'
import { freePort } from '../resources/ports.ts'
import { launcher, startProgram } from '../resources/program.ts'
import { until } from '../resources/until.ts'
import { follow, permitted, readPage } from './guide.ts'

const name = '06-hex-dump-proxy'

/** The rows of a dump as the bytes that they stand for, of one direction. */
function bytesOf(dump: string, arrow: '>' | '<'): string {
  const blocks = dump.split(/^(?=[<>] \d{4}\/)/m).filter(block => block.startsWith(arrow))
  const rows = blocks.flatMap(block => block.split('\n').filter(line => line.startsWith(' ')))
  const hex = rows.map(row => row.slice(0, 48).replaceAll(' ', '')).join('')
  return Buffer.from(hex, 'hex').toString('latin1')
}

needing('nginx', 'curl', 'bash')(
  'what curl and an nginx say to each other is in a file and on a screen, as the guide has it',
  async () => {
    await using fleet = await openFleet()
    const [port, far] = [String(await freePort()), await freePort()]
    const logs = join(fleet.folder, 'logs')
    await mkdir(logs)
    const exchanged = {
      'TCP4:example.com:80 ': `TCP4:127.0.0.1:${far} `,
      8080: port,
      '/var/log/fleetcat': logs,
    }
    const page = readPage(name, exchanged)
    await using nginx = await openNginx(fleet.folder, 'example', far)
    await nginx.start()
    await fleet.startController()
    await fleet.startAgent('edge-1', permitted(page))

    const [create, curl, watch = ''] = page.commands
    const { code, stderr } = await follow({ ...page, commands: [create!, curl!] }, fleet)
    expect(stderr).not.toMatch(/fleetcat:|curl:/)
    expect(code).toBe(0)
    const path = join(logs, 'wire.log')
    const file = await until('the answer is in the file', async () => {
      const dump = await readFile(path, 'latin1')
      return bytesOf(dump, '<').includes('hello from example') ? dump : undefined
    })
    expect(bytesOf(file, '>')).toMatch(/^GET \/ HTTP\/1\.1\r\nHost: /)
    expect(file).toMatch(/^> \S+ \S+ {2}length=\d+ from=0 to=\d+ connection=\S+$/m)
    expect((await stat(path)).mode & 0o777).toBe(0o600)

    const env = { FLEETCAT_HOME: join(fleet.folder, 'home') }
    await using live = startProgram([launcher, ...watch.split(' ').slice(1)], { env })
    await live.says(/Ctrl-C ends it/)
    await follow({ ...page, commands: [curl!] }, fleet)
    await until('it is on the screen', () => bytesOf(live.output(), '<').includes('hello from example'))
    await fleet.cat(['revoke', 'relay/wire'])
    await live.ended
    expect(live.output()).not.toContain('\u001b')
    expect(await readdir(logs)).toEqual(['wire.log'])
  },
  60_000,
)

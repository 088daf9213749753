import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import { openPort } from '#relay/serial/open-port.ts'
import { openFleet } from '../e2e/fleet.ts'
import { openContext } from '../resources/contexts.ts'
import { needing } from '../resources/needs.ts'
import { freePort } from '../resources/ports.ts'
import { openFakePort } from '../resources/serial/cables.ts'
import { openClient } from '../resources/servers.ts'
import { until } from '../resources/until.ts'
import { follow, permitted, readPage } from './guide.ts'

needing('socat', 'bash')(
  'a console over TCP, shared and logged, as the guide has it; revoked, the port is free',
  async () => {
    await using device = await openFakePort()
    device.far.on('data', bytes => device.far.write(String(bytes).includes('AT') ? 'OK\r\n' : 'ERROR\r\n'))
    const port = await freePort()
    await using fleet = await openFleet()
    const logs = join(fleet.folder, 'console')
    await mkdir(logs)
    const page = readPage('10-serial-port-over-tcp', {
      '/dev/ttyUSB0': device.path,
      '/dev/ttyUSB*': '/dev/pts/*',
      '/var/log/console': logs,
      2001: String(port),
    })
    await fleet.startController()
    await fleet.startAgent('edge-1', permitted(page))

    const { code, stdout, stderr } = await follow(page, fleet)
    expect(stderr).not.toMatch(/fleetcat:/)
    expect(code).toBe(0)
    expect(stdout).toContain('OK')
    const log = () => readFile(join(logs, 'lab.log'), 'utf8')
    await until('it is logged', async () => /^\d{4}-\S+Z OK\r$/m.test(await log()))
    device.far.write('nobody is here\r\n')
    await until('that is logged too', async () => /^\d{4}-\S+Z nobody is here\r$/m.test(await log()))

    await using _client = await openClient(port)
    await until('it is listed', async () =>
      (await fleet.cat(['connections'])).stdout.includes(`SERIAL:${device.path}`),
    )
    await expect(openPort(device.path, { holder: 'a test' }, openContext())).rejects.toMatchObject({
      code: 'conflict',
    })
    expect((await fleet.cat(['revoke', 'relay/console', '--yes'])).stdout).toContain('cut')
    await using free = await openPort(device.path, { holder: 'a test' }, openContext())
    expect(free.settings.baud).toBe(9_600)
  },
  60_000,
)

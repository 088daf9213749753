import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import { openFleet } from '../e2e/fleet.ts'
import { openFolder } from '../resources/folder.ts'
import { needing } from '../resources/needs.ts'
import { freePort } from '../resources/ports.ts'
import { openFakePort } from '../resources/serial/cables.ts'
import { openFakeLines } from '../resources/serial/lines.ts'
import { until } from '../resources/until.ts'
import { follow, permitted, readPage } from './guide.ts'

const script = `
import serial, sys
port = serial.serial_for_url(sys.argv[1], 57600, timeout=10)
port.write(b'version\\r')
print('answer:', port.readline().decode().strip())
`

needing('cc', '/usr/bin/python3')(
  'serial ports of other hosts, as the guide has them',
  async () => {
    await using lines = await openFakeLines()
    await using port = await openFakePort()
    lines.add(port.path)
    port.far.on('data', bytes => {
      if (bytes.includes('\r')) port.far.write('board 1.2\r\nkernel panic\r\n')
    })
    await using logs = await openFolder()
    const page = readPage('serial', {
      '/dev/ttyUSB0': port.path,
      '/var/log/lab/': `${logs.path}/`,
      ttyUSB0: 'port',
      python3: '/usr/bin/python3',
      2001: String(await freePort()),
      2002: String(await freePort()),
    })
    await using fleet = await openFleet()
    await fleet.startController()
    const { args } = permitted(page)
    await fleet.startAgent('lab-1', { args, env: lines.env, labels: { lab: 'berlin' } })
    await fleet.startAgent('bench')
    await writeFile(join(fleet.folder, 'version.py'), script)

    const { code, stdout, stderr } = await follow(page, fleet)
    expect(stderr).not.toMatch(/^fleetcat/m)
    expect(code).toBe(0)
    expect(stdout).toMatch(/board 1\.2/)
    expect(stdout.match(/answer: board 1\.2/g)).toHaveLength(2)
    expect(stdout).toMatch(/relay\/modem created[\s\S]*relay\/kept created/)
    const alert = {
      event: 'serial.alert',
      target: 'relay/kept',
      outcome: 'alert',
      words: 'a serial port has said: kernel panic',
    }
    const recorded = await until('the alert is on record', async () => {
      const { items } = await fleet.json(['audit', '--event', 'serial'])
      return items[0]
    })
    expect(recorded).toMatchObject(alert)
  },
  90_000,
)

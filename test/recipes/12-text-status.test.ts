import { hostname } from 'node:os'
import { expect } from 'vitest'
import { openFleet } from '../e2e/fleet.ts'
import { needing } from '../resources/needs.ts'
import { freePort } from '../resources/ports.ts'
import { openClient } from '../resources/servers.ts'
import { receive } from '../resources/streams.ts'
import { until } from '../resources/until.ts'
import { follow, permitted, readPage } from './guide.ts'

needing('socat', 'bash', 'setpriv')(
  'a text status, and one of a command, as the guide has them',
  async () => {
    const [status, disk] = [await freePort(), await freePort()]
    const page = readPage('12-text-status', {
      9200: String(status),
      9201: String(disk),
      '--idle-timeout 15s': '--idle-timeout 1s',
      '-T 15 ': '-T 1 ',
    })
    await using fleet = await openFleet()
    await fleet.startController()
    await fleet.startAgent('edge-1', permitted(page))

    const { code, stdout, stderr } = await follow(page, fleet)
    expect(stderr).not.toMatch(/fleetcat:/)
    expect(code).toBe(0)
    expect(stdout).toMatch(new RegExp(`^host: ${hostname()}$`, 'm'))
    expect(stdout).toMatch(/^up .*\n(.*\n)*Filesystem .* Mounted on$/m)

    for (const port of [status, disk]) {
      await using client = await openClient(port)
      expect((await receive(client)).length).toBeGreaterThan(0)
      // It says nothing and stays, until it is let go.
      const mine = `127.0.0.1:${client.localPort}`
      await until('it is let go', async () => !(await fleet.cat(['connections'])).stdout.includes(mine))
    }

    const elsewhere = ['create', 'other', '--on', 'edge-1', 'TCP4-LISTEN:0,fork,bind=127.0.0.1', 'EXEC:id -u']
    const refused = await fleet.cat([...elsewhere, '--wait'], 6)
    expect(refused.stdout + refused.stderr).toContain('add "EXEC:/usr/bin/id -u" under permit: in agent.yaml')
  },
  60_000,
)

import { expect } from 'vitest'
import { openFleet } from '../e2e/fleet.ts'
import { openListener } from '../resources/listener.ts'
import { needing } from '../resources/needs.ts'
import { freePort } from '../resources/ports.ts'
import { until } from '../resources/until.ts'
import { follow, readPage } from './guide.ts'

needing('bash')(
  'relays that end, close and shut out by themselves, as the guide has them',
  async () => {
    await using fleet = await openFleet()
    const ports = [await freePort(), await freePort(), await freePort()].map(String)
    const [incident = '', office = '', open = ''] = ports
    const page = readPage('expiry-and-bans', { 8022: incident, 8080: office, 8081: open })
    await fleet.startController()
    await fleet.startAgent('edge-1')

    const { code, stdout, stderr } = await follow(page, fleet)
    expect(stderr).not.toMatch(/fleetcat:/)
    expect(code).toBe(0)
    expect(stdout).toMatch(/^incident .* (2h|1h)\S* +ready/m)
    expect(stdout).toMatch(/Windows: +Mon-Fri 08:00-18:00 Europe\/Paris, Sat 09:00-12:00 Europe\/Paris/)
    for (let i = 0; i < 3; i++) {
      using visitor = await openListener(Number(open), '127.0.0.66')
      await until('it is turned away', visitor.closed)
    }
    await until('it is banned', async () => {
      const { items } = await fleet.json(['revocations'])
      return items[0]?.target === 'source/127.0.0.66/32' && items[0].by === 'agent/edge-1 (automatic)'
    })
  },
  60_000,
)

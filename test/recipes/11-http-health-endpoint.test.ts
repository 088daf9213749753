import { hostname } from 'node:os'
import { expect } from 'vitest'
import { openFleet } from '../e2e/fleet.ts'
import { needing } from '../resources/needs.ts'
import { freePort } from '../resources/ports.ts'
import { follow, permitted, readPage } from './guide.ts'

needing(
  'curl',
  'bash',
  'setpriv',
)('a health endpoint over HTTP, as the guide has it', async () => {
  const page = readPage('11-http-health-endpoint', {
    9100: String(await freePort()),
    9101: String(await freePort()),
  })
  await using fleet = await openFleet()
  await fleet.startController()
  await fleet.startAgent('edge-1', permitted(page))

  const { code, stdout, stderr } = await follow(page, fleet)
  expect(stderr).not.toMatch(/fleetcat:/)
  expect(code).toBe(0)
  expect(stdout).toMatch(/HTTP\/1\.1 200 OK\r\nconnection: close\r\ncontent-type: application\/json\r\n/)
  const said = JSON.parse(/^\{"status".*\}$/m.exec(stdout)?.[0] ?? '')
  expect(said).toEqual({
    status: 'ok',
    host: hostname(),
    time: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
    uptime: expect.any(Number),
    load: [expect.any(Number), expect.any(Number), expect.any(Number)],
  })
  expect(stdout).toMatch(/HTTP\/1\.0 200 OK\n\n.* up .*load average/)
})

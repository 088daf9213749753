import { expect } from 'vitest'
import { openFleet } from '../e2e/fleet.ts'
import { needing } from '../resources/needs.ts'
import { freePort } from '../resources/ports.ts'
import { follow, readPage } from './guide.ts'

needing('bash', 'socat')(
  'the way between two hosts is measured, as the guide has it',
  async () => {
    await using fleet = await openFleet()
    const page = readPage('15-throughput-test', {
      9000: String(await freePort()),
      '--time 5s': '--time 300ms',
    })
    await fleet.startController()
    await fleet.startAgent('app-1')
    await fleet.startAgent('db-1')
    const { code, stdout, stderr } = await follow(page, fleet)
    expect(stderr).not.toMatch(/fleetcat:/)
    expect(code).toBe(0)
    expect(stdout).toMatch(/There: +.*\/s/)
    expect(stdout).toMatch(/"bytesPerSecond": *[1-9]/)
    expect(stdout).toMatch(/app-1 +cut/)
    expect(stdout).toMatch(/db-1 +cut/)
  },
  90_000,
)

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import { openFleet } from '../e2e/fleet.ts'
import { needing } from '../resources/needs.ts'
import { openServer } from '../resources/servers.ts'
import { follow, permitted, readPage } from './guide.ts'

needing('bash', 'jq', 'timeout')(
  'which hosts can reach an address, as the guide has it',
  async () => {
    await using database = await openServer(socket => socket.resume().once('end', () => socket.end()))
    await using mail = await openServer(socket => {
      socket.resume().once('end', () => socket.end())
      socket.write('220 ready\r\n')
    })
    const page = readPage('16-strict-timeout-probe', {
      '10.0.0.9:5432': `127.0.0.1:${database.port}`,
      '10.0.0.9:2525': `127.0.0.1:${mail.port}`,
    })
    await using fleet = await openFleet()
    await fleet.startController()
    const paris = { ...permitted(page), labels: { site: 'paris' } }
    for (const name of ['edge-1', 'edge-2']) await fleet.startAgent(name, paris)

    const { code, stdout, stderr } = await follow(page, fleet)
    expect(stderr).not.toMatch(/fleetcat:/)
    expect(code).toBe(0)
    expect(stdout).toMatch(/AGENT +ADDRESS +CONNECT-MS +TLS-MS +BYTE-MS +VERDICT +WHY/)
    for (const agent of ['edge-1', 'edge-2']) {
      expect(stdout).toMatch(new RegExp(`^${agent} +127\\.0\\.0\\.1 +[\\d.]+ +- +- +open +-$`, 'm'))
      expect(stdout).toMatch(new RegExp(`^${agent} open [\\d.]+$`, 'm'))
    }
    // The one that had to say something has said it.
    expect(stdout).toMatch(/^edge-1 +127\.0\.0\.1 +[\d.]+ +- +[\d.]+ +open +-$/m)

    const repeated = (await readFile(join(fleet.folder, 'probes.jsonl'), 'utf8')).trim().split('\n')
    expect(repeated.length).toBeGreaterThanOrEqual(4)
    for (const line of repeated) expect(JSON.parse(line)).toMatchObject({ kind: 'Probe', verdict: 'open' })
  },
  60_000,
)

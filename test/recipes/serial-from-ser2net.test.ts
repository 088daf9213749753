import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { bindAddress } from '#relay/endpoints/index.ts'
import { openFleet } from '../e2e/fleet.ts'
import { needing } from '../resources/needs.ts'
import { freePort } from '../resources/ports.ts'
import { root } from '../resources/program.ts'
import { openFakePort } from '../resources/serial/cables.ts'
import { telnetPeer } from '../resources/serial/telnet-peer.ts'
import { openClient, type TestClient } from '../resources/servers.ts'
import { gather } from '../resources/terminals.ts'
import { until } from '../resources/until.ts'
import { follow, permitted, readPage } from './guide.ts'

needing('bash')(
  'ports of a ser2net.yaml become relays, as the guide has it, and their clients stay',
  async () => {
    await using fleet = await openFleet()
    await using one = await openFakePort()
    await using two = await openFakePort()
    const [settable, plain, far] = [await freePort(), await freePort(), await freePort()]
    const page = readPage('serial-from-ser2net', {
      '/dev/ttyUSB0': one.path,
      '/dev/ttyUSB1': two.path,
      3001: String(settable),
      3002: String(plain),
      3003: String(far),
    })
    const ports = { permit: page.permit.filter(line => line.startsWith('SERIAL:')) }
    await fleet.startController()
    await fleet.startAgent('edge-1', permitted({ ...page, ...ports }))
    await fleet.startAgent('desk-1')
    const { code, stderr } = await follow(page, fleet)
    expect(stderr).not.toMatch(/fleetcat:/)
    expect(code).toBe(0)

    const talk = async (client: TestClient) => {
      const peer = telnetPeer(client)
      peer.option('will', 44)
      expect(await peer.ask('baud', 0)).toBe(115_200)
      expect(await peer.ask('baud', 57_600)).toBe(57_600)
      peer.write('hello')
      expect(String(await gather(one.far, 5))).toBe('hello')
    }
    {
      await using there = await openClient(far)
      await talk(there)
    }
    await until('the port is free', async () => (await fleet.json(['connections'])).items.length === 0)
    await using client = await openClient(settable)
    await talk(client)

    await using other = await openClient(plain)
    other.write('bytes only')
    expect(String(await gather(two.far, 10))).toBe('bytes only')
    await until('both are listed', async () => {
      const { stdout } = await follow({ permit: [], commands: ['fleetcat connections'] }, fleet)
      return stdout.includes(one.path) && stdout.includes(two.path)
    })
  },
  60_000,
)

/** What a cell says, as somebody might write it in full. */
function inFull(cell: string): string {
  const port = 'SERIAL:/dev/ttyUSB0'
  if (cell.startsWith('range=')) return `TCP-LISTEN:3001,fork,${cell}`
  if (/^[a-z]/.test(cell)) return inFull(`…,${cell}`)
  return cell.replace(/^(SERIAL:)?…/, port).replaceAll(/…|FILE/g, '/srv/file')
}

test('every address and every option that its tables name is one', () => {
  const page = readFileSync(join(root, 'docs/guide/serial-from-ser2net.md'), 'utf8')
  const cells = [...page.matchAll(/^\|.*\|(.*)\|$/gm)].flatMap(([, cell = '']) =>
    [...cell.matchAll(/`([^`]+)`/g)].map(([, code = '']) => code),
  )
  // Words of the command line, and keywords that are only spoken of.
  const addresses = cells.filter(cell => !/^--|^[A-Z0-9-]+$/.test(cell)).map(inFull)
  expect(addresses.length).toBeGreaterThan(20)
  for (const address of addresses) expect(() => bindAddress(address), address).not.toThrow()
})

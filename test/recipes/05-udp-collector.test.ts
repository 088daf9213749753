import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import { type Fleet, openFleet } from '../e2e/fleet.ts'
import { openDatagramSocket } from '../resources/datagram-sockets.ts'
import { needing } from '../resources/needs.ts'
import { run } from '../resources/program.ts'
import { until } from '../resources/until.ts'
import { follow, permitted, readPage } from './guide.ts'

const name = '05-udp-collector'
const patience = 60_000
const stamped = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z /

/** A port that nobody has, of UDP. */
async function freeUdpPort(): Promise<string> {
  await using socket = await openDatagramSocket()
  return String(socket.port)
}

async function openEdge(fleet: Fleet) {
  const port = await freeUdpPort()
  const logs = join(fleet.folder, 'logs')
  const page = readPage(name, { '/var/log/udp': logs, 5514: port })
  await mkdir(logs)
  await fleet.startController()
  await fleet.startAgent('edge-1', permitted(page))
  const lines = async () => (await readFile(join(logs, 'events.log'), 'utf8')).split('\n').slice(0, -1)
  return { page, port: Number(port), logs, lines }
}

needing('logger', 'bash')(
  'what is sent over UDP is in a file, a line each and with the time, as the guide has it',
  async () => {
    await using fleet = await openFleet()
    const { page, port, lines } = await openEdge(fleet)
    const { code, stderr } = await follow(page, fleet)
    expect(stderr).not.toMatch(/fleetcat:/)
    expect(code).toBe(0)
    await using sender = await openDatagramSocket()
    const sent = Array.from({ length: 200 }, (_, at) => `event ${at}`)
    for (const [at, text] of sent.entries()) {
      await sender.send(at % 2 === 0 ? text : `${text}\n`, port)
      await until('it is there', async () => (await lines()).length === at + 2)
    }
    const [first = '', ...others] = await lines()
    expect(first).toMatch(stamped)
    expect(first).toMatch(/door: opened$/)
    expect(others.every(line => stamped.test(line))).toBe(true)
    expect(others.map(line => line.replace(stamped, ''))).toEqual(sent)

    const elsewhere = ['create', 'other', '--on', 'edge-1', `UDP4-RECV:${await freeUdpPort()},bind=127.0.0.1`]
    const refused = await fleet.cat([...elsewhere, `OPEN:${fleet.folder}/x,append,creat`, '-u', '--wait'], 6)
    expect(refused.stdout + refused.stderr).toContain(
      `add "OPEN:${fleet.folder}/x,append,creat" under permit:`,
    )
  },
  patience,
)

needing('mount', 'bash', 'root')(
  'a full disk costs the collector what it counts, and it goes on when there is room again',
  async () => {
    await using fleet = await openFleet()
    const { page, port, logs, lines } = await openEdge(fleet)
    const mounted = await run(['mount', '-t', 'tmpfs', '-o', 'size=128k', 'tmpfs', logs])
    expect(mounted.code, mounted.stderr).toBe(0)
    try {
      const [create = ''] = page.commands
      await fleet.cat(create.split(' ').slice(1))
      await writeFile(join(logs, 'filler'), Buffer.alloc(120 * 1_024))
      await using sender = await openDatagramSocket()
      const dropped = async () => {
        const { status } = await fleet.json(['describe', 'relay/collector'])
        return JSON.stringify(status).match(/"disk-full":(\d+)/)?.[1] ?? '0'
      }
      await until('something is lost, and told', async () => {
        for (let at = 0; at < 20; at++) await sender.send('x'.repeat(900), port)
        return Number(await dropped()) > 0
      })
      await rm(join(logs, 'filler'))
      await sender.send('there is room again', port)
      await until('it is there', async () => (await lines()).at(-1)?.endsWith('there is room again'))
      expect((await lines()).every(line => /Z (x{900}|there is room again)$/.test(line))).toBe(true)
    } finally {
      await fleet.cat(['revoke', 'relay/collector', '--reason', 'the end of the test'])
      await run(['umount', logs])
    }
  },
  patience,
)

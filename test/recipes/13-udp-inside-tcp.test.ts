import { expect } from 'vitest'
import { openFleet } from '../e2e/fleet.ts'
import { openDatagramSocket } from '../resources/datagram-sockets.ts'
import { needing } from '../resources/needs.ts'
import { follow, readPage } from './guide.ts'

/** A port that nobody has, of UDP. */
async function freeUdpPort(): Promise<number> {
  await using socket = await openDatagramSocket()
  return socket.port
}

needing('bash')(
  'datagrams and their answers keep their boundaries through a tunnel, as the guide has it',
  async () => {
    await using fleet = await openFleet()
    await using collector = await openDatagramSocket(text => `${text.length}`)
    const listen = await freeUdpPort()
    const page = readPage('13-udp-inside-tcp', {
      'UDP4-LISTEN:6000': `UDP4-LISTEN:${listen}`,
      '127.0.0.1:6000': `127.0.0.1:${collector.port}`,
    })
    await fleet.startController()
    await fleet.startAgent('site-a')
    await fleet.startAgent('site-b')
    const { code, stderr } = await follow(page, fleet)
    expect(stderr).not.toMatch(/fleetcat:/)
    expect(code).toBe(0)

    await using gateway = await openDatagramSocket()
    const sizes = [1, 0, 1_400, 9_000, 60_000, 5, 5, 5]
    for (const [nth, size] of sizes.entries()) {
      await gateway.send('x'.repeat(size), listen)
      await gateway.reply(nth + 1)
    }
    expect(gateway.got.map(({ text }) => text)).toEqual(sizes.map(String))
    const { items } = await fleet.json(['connections'])
    expect(items).toMatchObject([{ agent: 'site-a', tunnel: { answeredBy: 'site-b', way: 'controller' } }])
  },
  60_000,
)

import { expect } from 'vitest'
import { openFleet } from '../e2e/fleet.ts'
import { needing } from '../resources/needs.ts'
import { openNetwork } from '../resources/netns.ts'
import { dropPackets } from '../resources/partition.ts'

const relays = Array.from({ length: 8 }, (_, n) => `relay-${n}`)

needing('root', 'ip', 'nft')(
  'where each twentieth packet is lost, each way, every order arrives, and once',
  async () => {
    await using network = await openNetwork(2)
    await using fleet = await openFleet()
    const [hub, edge] = network.hosts
    await fleet.startController({ netns: hub!.netns, ip: hub!.ip })
    const agent = await fleet.startAgent('edge', { netns: edge!.netns })
    await using _loss = await dropPackets(edge!.netns, 'both', 5)
    for (const [n, name] of relays.entries()) {
      await fleet.cat(['create', name, `TCP4-LISTEN:${8080 + n},bind=127.0.0.1,fork`, 'ECHO'])
    }
    for (const name of relays) await fleet.cat(['wait', `relay/${name}`, '--for', 'ready'])
    await fleet.cat(['revoke', ...relays.map(name => `relay/${name}`), '--yes'])

    const { items } = await fleet.json(['revocations'])
    expect(items).toHaveLength(relays.length)
    for (const { receipts } of items) expect(receipts).toMatchObject([{ verdict: 'cut', listenersClosed: 1 }])
    const logged = (event: string) =>
      agent
        .output()
        .split('\n')
        .filter(line => line.includes(`"event":"${event}"`)).length
    expect(logged('relay.applied')).toBe(relays.length)
    expect(logged('revocation.done')).toBe(relays.length)
  },
  120_000,
)

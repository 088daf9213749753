import { expect } from 'vitest'
import { openFleet } from '../e2e/fleet.ts'
import { kernelSockets } from '../resources/kernel-sockets.ts'
import { needing } from '../resources/needs.ts'
import { openNetwork } from '../resources/netns.ts'
import { dropPackets } from '../resources/partition.ts'
import { startProgram } from '../resources/program.ts'
import { until } from '../resources/until.ts'

const targetPort = 7000

needing(
  'root',
  'ip',
  'nft',
  'socat',
)(
  'an answering host whose packets are lost lets go of what came through tunnels within the lease, and what was revoked meanwhile stays so',
  async () => {
    await using network = await openNetwork(3)
    await using fleet = await openFleet()
    const [hub, a, b] = network.hosts
    await fleet.startController({ netns: hub!.netns, ip: hub!.ip })
    await fleet.startAgent('a', { netns: a!.netns })
    const answering = await fleet.startAgent('b', { netns: b!.netns })
    await using _target = startProgram(['socat', `TCP4-LISTEN:${targetPort},fork,reuseaddr`, 'SYSTEM:cat'], {
      netns: b!.netns,
    })
    const to = `@b/TCP4:127.0.0.1:${targetPort}`
    for (const [name, port] of [
      ['stays', 8081],
      ['goes', 8082],
    ] as const) {
      const listen = `TCP4-LISTEN:${port},bind=127.0.0.1,fork`
      await fleet.cat(['create', name, '--on', 'a', '--lease', '5s', listen, to, '--wait'])
    }
    const talk = (port: number) =>
      startProgram(['sh', '-c', `(echo hello; sleep 600) | socat - TCP4:127.0.0.1:${port}`], {
        netns: a!.netns,
      })
    await using one = talk(8081)
    await using other = talk(8082)
    await one.says(/hello/)
    await other.says(/hello/)
    const held = () => kernelSockets(answering.pid).filter(({ remotePort }) => remotePort === targetPort)
    expect(held()).toHaveLength(2)

    {
      await using _ = await dropPackets(b!.netns, 'both')
      const { receipts } = JSON.parse(
        (await fleet.cat(['revoke', 'relay/goes', '--timeout', '60s', '-o', 'json'], 6)).stdout,
      )
      expect(receipts).toMatchObject([
        { agent: 'a', verdict: 'cut' },
        { agent: 'b', verdict: 'fenced' },
      ])
      const fencedBy = Date.parse(receipts[1].fencedBy)
      await until('the answering host has let go', () => held().length === 0, 40_000)
      const lapsed = [
        ...answering.output().matchAll(/"time":"([^"]+)"[^\n]*"connection\.closed"[^\n]*"lapsed"/g),
      ]
      expect(lapsed).toHaveLength(2)
      for (const [, time = ''] of lapsed) expect(Date.parse(time)).toBeLessThanOrEqual(fencedBy)
    }
    await until(
      'it is back',
      async () => {
        const { items } = await fleet.json(['revocations'])
        return items[0].receipts.every(({ verdict }: { verdict: string }) => verdict === 'cut')
      },
      40_000,
    )
    await using again = talk(8081)
    await again.says(/hello/)
    await using refused = talk(8082)
    await refused.says(/Connection refused/)
  },
  120_000,
)

import { expect } from 'vitest'
import { needing } from '../resources/needs.ts'
import { openNetwork } from '../resources/netns.ts'
import { run, startProgram } from '../resources/program.ts'
import { until } from '../resources/until.ts'
import { openFleet } from './fleet.ts'

const patience = 60_000

needing('root', 'ip', 'socat')(
  'one create reaches the hosts that a selector matches, and one revoke cuts the live connection on each of them',
  async () => {
    await using network = await openNetwork(4)
    await using fleet = await openFleet()
    const [hub, ...hosts] = network.hosts
    await fleet.startController({ netns: hub!.netns, ip: hub!.ip })
    for (const [i, { netns }] of hosts.entries()) {
      await fleet.startAgent(`edge-${i + 1}`, { netns, labels: { site: i < 2 ? 'paris' : 'oslo' } })
    }
    await using _target = startProgram(
      ['socat', 'TCP4-LISTEN:7000,fork,reuseaddr', 'SYSTEM:echo hello; cat'],
      { netns: hub!.netns },
    )

    await fleet.cat([
      'create',
      'echo',
      '-l',
      'site in (paris,oslo)',
      'TCP4-LISTEN:8080,bind=127.0.0.1,fork',
      `TCP4:${hub!.ip}:7000`,
      '--wait',
    ])

    await using clients = new AsyncDisposableStack()
    const talking = []
    for (const { netns } of hosts) {
      const client = clients.use(startProgram(['socat', '-d', '-u', 'TCP4:127.0.0.1:8080', '-'], { netns }))
      await client.says(/hello/)
      talking.push(client)
    }
    const { items } = await fleet.json(['connections'])
    expect(items.map((each: { agent: string }) => each.agent).sort()).toEqual(['edge-1', 'edge-2', 'edge-3'])

    const revocation = await fleet.json(['revoke', 'relay/echo', '--reason', 'the end of the test'])
    expect(revocation.receipts).toHaveLength(3)
    for (const receipt of revocation.receipts) {
      expect(receipt).toMatchObject({ verdict: 'cut', listenersClosed: 1, connectionsCut: 1 })
    }
    for (const client of talking) {
      const { stderr } = await client.ended
      expect(stderr).toMatch(/Connection reset by peer/)
    }
    for (const { netns } of hosts) {
      const { stderr } = await run(['socat', '-', 'TCP4:127.0.0.1:8080'], { netns })
      expect(stderr).toMatch(/Connection refused/)
    }
  },
  patience,
)

needing('root', 'ip', 'nft')(
  'a host behind a silent partition is shown as unreachable, gets its orders when it is back, and keeps unchanged relays',
  async () => {
    await using network = await openNetwork(2)
    await using fleet = await openFleet()
    const [hub, edge] = network.hosts
    await fleet.startController({ netns: hub!.netns, ip: hub!.ip })
    await fleet.startAgent('edge', { netns: edge!.netns })
    await fleet.cat([
      'create',
      'stays',
      '--on',
      'edge',
      'TCP4-LISTEN:8081,bind=127.0.0.1,fork',
      `TCP4:${hub!.ip}:7000`,
      '--wait',
    ])
    await fleet.cat([
      'create',
      'goes',
      '--on',
      'edge',
      'TCP4-LISTEN:8082,bind=127.0.0.1,fork',
      `TCP4:${hub!.ip}:7000`,
      '--wait',
    ])

    const nft = async (...args: string[]) => {
      const { code, stderr } = await run(['nft', ...args], { netns: edge!.netns })
      expect(stderr).toBe('')
      expect(code).toBe(0)
    }
    await nft(
      'add table inet partition; add chain inet partition in { type filter hook input priority 0; }; add rule inet partition in iifname eth0 drop',
    )
    const stateOf = async (name: string) => {
      const { items } = await fleet.json(['list'])
      return items.find((each: { metadata: { name: string } }) => each.metadata.name === name)?.status.state
    }
    await until('the partition is noticed', async () => (await stateOf('stays')) === 'unreachable')

    const during = JSON.parse((await fleet.cat(['revoke', 'relay/goes', '-o', 'json'], 6)).stdout)
    expect(during.receipts).toMatchObject([{ agent: 'edge' }])
    expect(during.receipts[0].verdict).not.toBe('cut')

    await nft('delete table inet partition')
    await until('it is ready again', async () => (await stateOf('stays')) === 'ready', 30_000)
    const after = await until('the receipt is in', async () => {
      const { items } = await fleet.json(['revocations'])
      return items[0].receipts[0].verdict === 'cut' && items[0]
    })
    expect(after.receipts[0]).toMatchObject({ listenersClosed: 1 })
    const { items } = await fleet.json(['list'])
    expect(items).toHaveLength(1)
    expect(items[0].status.agents[0].trace).toHaveLength(1)
  },
  patience,
)

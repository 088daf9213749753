import { chmod, mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import { needing } from '../resources/needs.ts'
import { openNetwork } from '../resources/netns.ts'
import { startPostgres } from '../resources/postgres.ts'
import { launcher, type Outcome, run, startProgram } from '../resources/program.ts'
import { until } from '../resources/until.ts'
import { openFleet } from './fleet.ts'

const canary = 'the launch code is 00000000'

needing(
  'root',
  'ip',
  'nft',
  'psql',
  'pg_config',
  'setpriv',
  'tcpdump',
)(
  'a laptop with nothing but the CLI and a token reaches a PostgreSQL behind NAT, unread on its way, until the operator is revoked',
  async () => {
    await using network = await openNetwork(3)
    await using fleet = await openFleet()
    const [hub, db, laptop] = network.hosts
    await fleet.startController({ netns: hub!.netns, ip: hub!.ip })
    // As NAT does: whatever this host has not begun itself does not get in.
    const nat =
      'add table inet nat; add chain inet nat in { type filter hook input priority 0; policy drop; }; ' +
      'add rule inet nat in ct state established,related accept; add rule inet nat in iifname lo accept'
    expect(await run(['nft', nat], { netns: db!.netns })).toMatchObject({ code: 0 })
    await fleet.startAgent('db-1', { netns: db!.netns })
    const folder = join(fleet.folder, 'postgresql')
    await mkdir(folder)
    await chmod(folder, 0o777)
    await chmod(fleet.folder, 0o755)
    await using _postgres = await startPostgres({ folder, port: 5432, netns: db!.netns })
    const capture = join(fleet.folder, 'capture')
    await using sniffer = startProgram(
      ['tcpdump', '-i', 'eth0', '-s', '0', '-U', '-Z', 'root', '-w', capture, 'tcp'],
      { netns: hub!.netns },
    )
    await sniffer.says(/listening on/)

    const { token } = await fleet.json(['token', 'create', 'operator', '--name', 'ann', '--role', 'operator'])
    const home = { FLEETCAT_HOME: join(fleet.folder, 'laptop') }
    const onLaptop = { netns: laptop!.netns, env: home }
    expect(await run([launcher, 'login', token], onLaptop)).toMatchObject({ code: 0 })
    await using forward = startProgram([launcher, 'forward', '15432', '@db-1/TCP4:127.0.0.1:5432'], onLaptop)
    await forward.says(/leads to/)
    const psql = (query: string): Promise<Outcome> =>
      run(['psql', '-h', '127.0.0.1', '-p', '15432', '-U', 'postgres', '-Atc', query], onLaptop)
    expect(await psql(`select '${canary}'`)).toMatchObject({ code: 0, stdout: `${canary}\n` })
    const rows = await psql(`select '${canary}' from generate_series(1, 20000)`)
    expect(rows.stdout.length).toBe(20_000 * (canary.length + 1))

    const asleep = psql('select pg_sleep(60)')
    await until('the conversation is listed', async () => {
      const { items } = await fleet.json(['connections'])
      return items.length === 1 && items[0]
    })
    const { items } = await fleet.json(['connections'])
    expect(items).toMatchObject([
      {
        agent: 'db-1',
        target: 'TCP4:127.0.0.1:5432',
        tunnel: { initiator: 'operator/ann', purpose: 'forward' },
      },
    ])
    const revokedAt = performance.now()
    const { receipts } = await fleet.json(['revoke', 'operator/ann', '--reason', 'her laptop was stolen'])
    expect(receipts).toMatchObject([{ agent: 'db-1', verdict: 'cut', connectionsCut: 1 }])
    const cut = await asleep
    // With the start of two programs in it: the promise is a second.
    expect(performance.now() - revokedAt).toBeLessThan(5_000)
    expect(cut.code).not.toBe(0)
    const ended = await forward.ended
    expect(ended.code).toBe(3)
    expect(ended.stderr).toContain('her laptop was stolen')
    expect((await run([launcher, 'forward', '15433', '@db-1/TCP4:127.0.0.1:5432'], onLaptop)).code).toBe(3)

    sniffer.kill('SIGINT')
    await sniffer.ended
    const seen = await readFile(capture, 'latin1')
    expect(seen.length).toBeGreaterThan(500_000)
    expect(seen).not.toContain(canary)
    // What it does see: the tickets, and nothing else in clear.
    expect(seen).toMatch(/FCAT\/1 [a-z2-7]{52}\n/)

    const audit = await fleet.json(['audit'])
    const events = audit.items.map((row: { event: string }) => row.event)
    expect(events).toContain('tunnel.opened')
    expect(events).toContain('tunnel.closed')
  },
  90_000,
)

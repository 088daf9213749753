import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import { needing } from '../resources/needs.ts'
import { openNetwork } from '../resources/netns.ts'
import { launcher, root, run, startProgram } from '../resources/program.ts'
import { until } from '../resources/until.ts'
import { openFleet } from './fleet.ts'

const readme = readFileSync(join(root, 'README.md'), 'utf8')

needing(
  'root',
  'ip',
  'curl',
  'socat',
  'python3',
  'bash',
)(
  'the README’s revoke of a source cuts its live downloads and UDP flows on two hosts at once, and refuses the next',
  async () => {
    await using network = await openNetwork(5)
    await using fleet = await openFleet()
    const [hub, one, two, scanner, friend] = network.hosts
    const edges = [one!, two!]
    await fleet.startController({ netns: hub!.netns, ip: hub!.ip })
    const args = ['--permit', 'TCP-LISTEN:10.99.0.0/16:*', '--permit', 'UDP-LISTEN:10.99.0.0/16:*']
    for (const [i, { netns, ip }] of edges.entries()) {
      await fleet.startAgent(`edge-${i + 1}`, { netns, args, labels: { site: 'paris' } })
      const on = ['--on', `edge-${i + 1}`]
      const web = [`TCP4-LISTEN:8080,bind=${ip},fork`, `TCP4:${hub!.ip}:8000`]
      await fleet.cat(['create', `web-${i + 1}`, ...on, ...web, '--wait'])
      await fleet.cat([
        'create',
        `echo-${i + 1}`,
        ...on,
        `UDP4-LISTEN:5353,bind=${ip},fork`,
        'ECHO',
        '--wait',
      ])
    }
    await writeFile(join(fleet.folder, 'big'), Buffer.alloc(60 * 2 ** 20))
    await using server = startProgram(
      ['python3', '-u', '-m', 'http.server', '8000', '--bind', hub!.ip, '--directory', fleet.folder],
      { netns: hub!.netns },
    )
    await server.says(/Serving HTTP/)

    const download = (from: string, ip: string, ...more: string[]) =>
      startProgram(['curl', '-sS', '-o', '/dev/null', ...more, `http://${ip}:8080/big`], { netns: from })
    /** Says something each moment, and hears it again while somebody answers. */
    const flow = (from: string, ip: string) =>
      startProgram(['bash', '-c', `while sleep 0.05; do echo alive; done | socat - UDP4:${ip}:5353`], {
        netns: from,
      })
    const ask = (from: string, ip: string) =>
      run(['socat', '-t', '0.5', '-', `UDP4:${ip}:5353`], { netns: from, input: 'anybody?\n' })

    await using clients = new AsyncDisposableStack()
    const downloads = edges.map(({ ip }) => clients.use(download(scanner!.netns, ip, '--limit-rate', '2M')))
    const flows = edges.map(({ ip }) => clients.use(flow(scanner!.netns, ip)))
    const spared = edges.map(({ ip }) => clients.use(download(friend!.netns, ip, '--limit-rate', '20M')))
    await until('all of them are listed', async () => {
      const { items } = await fleet.json(['connections', '--source', scanner!.ip])
      return items.length === 4
    })
    for (const each of flows) await each.says(/alive/)

    const line = /^fleetcat (revoke source\/\S+ .*)$/m.exec(readme)?.[1] ?? ''
    const command = line.replace('203.0.113.0/24', `${scanner!.ip}/32`)
    const outcome = await run(['bash', '-c', `"$0" ${command} -o json`, launcher], {
      netns: hub!.netns,
      env: { FLEETCAT_HOME: join(fleet.folder, 'home') },
    })
    expect(outcome.stderr).toBe('')
    expect(outcome.code).toBe(0)
    const order = JSON.parse(outcome.stdout)
    expect(order).toMatchObject({ state: 'active', target: `source/${scanner!.ip}/32` })
    expect(order.receipts).toHaveLength(2)
    for (const receipt of order.receipts) expect(receipt).toMatchObject({ verdict: 'cut', connectionsCut: 2 })

    for (const { ended } of downloads) expect((await ended).stderr).toMatch(/reset by peer/)
    for (const { ip } of edges) expect((await ask(scanner!.netns, ip)).stdout).toBe('')
    const { items: left } = await fleet.json(['connections', '--source', scanner!.ip])
    expect(left).toEqual([])
    const heard = () => flows.map(each => each.output().length)
    const before = heard()
    for (const { ip } of edges) {
      // The reset may come before curl has heard that it is connected.
      expect((await download(scanner!.netns, ip).ended).stderr).toMatch(
        /reset by peer|Empty reply|Couldn't connect/,
      )
      expect((await ask(scanner!.netns, ip)).stdout).toBe('')
      await until('the others are not', async () => (await ask(friend!.netns, ip)).stdout === 'anybody?\n')
    }
    expect(heard()).toEqual(before)
    for (const { ended } of spared) expect((await ended).code).toBe(0)

    await fleet.cat(['lift', order.id])
    for (const { ip } of edges) {
      await until('it is let in again', async () => (await ask(scanner!.netns, ip)).stdout === 'anybody?\n')
    }
  },
  120_000,
)

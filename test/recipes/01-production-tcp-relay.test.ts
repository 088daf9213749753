import { expect } from 'vitest'
import { openFleet } from '../e2e/fleet.ts'
import { needing } from '../resources/needs.ts'
import { openNginx } from '../resources/nginx.ts'
import { freePort } from '../resources/ports.ts'
import { run } from '../resources/program.ts'
import { openClient } from '../resources/servers.ts'
import { ended } from '../resources/streams.ts'
import { until } from '../resources/until.ts'
import { follow, permitted, readPage } from './guide.ts'

const name = '01-production-tcp-relay'

needing('nginx', 'curl', 'bash')(
  'curl reaches an nginx through a relay, as the guide has it; who connects is listed, logged, held to the range',
  async () => {
    await using fleet = await openFleet()
    const [port, far] = [await freePort(), await freePort()]
    const page = readPage(name, { 8080: String(port), 'TCP4:example:80': `TCP4:127.0.0.1:${far}` })
    await using nginx = await openNginx(fleet.folder, 'example', far)
    await nginx.start()
    await fleet.startController()
    const agent = await fleet.startAgent('edge-1', permitted(page))

    const { code, stdout, stderr } = await follow(page, fleet)
    expect(stderr).not.toMatch(/fleetcat:|curl:/)
    expect(code).toBe(0)
    expect(stdout).toContain('hello from example')
    expect(stdout).toMatch(/Reason: +the shop's front/)
    expect(stdout).toMatch(new RegExp(`listens at: +127\\.0\\.0\\.1:${port}`))

    const target = `TCP4:127.0.0.1:${far},connect-timeout=5`
    const said = (event: string) =>
      agent
        .output()
        .split('\n')
        .filter(line => line.includes(`"${event}"`))
        .map(line => JSON.parse(line))
    await until('its end is logged', () => said('connection.closed').length === 1)
    const [closed] = said('connection.closed')
    expect(closed).toMatchObject({ relay: 'web', target, cause: 'eof' })
    expect(closed.source).toMatch(/^127\.0\.0\.1:\d+$/)
    expect(closed.bytesIn).toBeGreaterThan(70)
    expect(closed.bytesOut).toBeGreaterThan(150)

    await using client = await openClient(port)
    const live = await until('the connection is listed', async () => {
      const { items } = await fleet.json(['connections', '--relay', 'web'])
      return items[0]
    })
    expect(live).toMatchObject({
      agent: 'edge-1',
      relay: 'web',
      source: `127.0.0.1:${client.localPort}`,
      target,
    })
    const opening = await until('its beginning is logged', () => said('connection.opened')[0])
    expect(opening).toMatchObject({ relay: 'web', connection: live.id, target })
    await fleet.cat(['revoke', `conn/${live.id}`])
    await ended(client.resume()).catch(() => {})

    const stranger = await run(['curl', '-sS', '--interface', '127.0.0.2', `http://127.0.0.1:${port}/`])
    // The reset may come before or after curl has said its first word.
    expect(stranger.stderr).toMatch(/reset by peer|Empty reply|Couldn't connect/)
    await until('the stranger is counted', async () => {
      const { status } = await fleet.json(['describe', 'relay/web'])
      return Object.values(status.agents[0].refusals).includes(1)
    })

    await fleet.cat(['revoke', 'relay/web'])
    expect((await run(['curl', '-sS', `http://127.0.0.1:${port}/`])).code).toBe(7)
  },
  60_000,
)

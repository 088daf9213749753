import { expect } from 'vitest'
import { openFleet } from '../e2e/fleet.ts'
import { needing } from '../resources/needs.ts'
import { openNginx } from '../resources/nginx.ts'
import { freePort } from '../resources/ports.ts'
import { run } from '../resources/program.ts'
import { until } from '../resources/until.ts'
import { follow, permitted, readPage } from './guide.ts'

const name = '02-blue-green-failover'
const [hello, goodbye] = ['hello from blue\n', 'hello from green\n']

needing('nginx', 'curl', 'bash')(
  'curl goes on with green when blue dies or is not well, and comes back to blue, as the guide has it',
  async () => {
    await using fleet = await openFleet()
    const [app, pool, bluePort, greenPort] = [
      await freePort(),
      await freePort(),
      await freePort(),
      await freePort(),
    ]
    const page = readPage(name, {
      8080: String(app),
      8081: String(pool),
      '10.0.0.5:80': `127.0.0.1:${bluePort}`,
      '10.0.0.6:80': `127.0.0.1:${greenPort}`,
    })
    await using blue = await openNginx(fleet.folder, 'blue', bluePort)
    await using green = await openNginx(fleet.folder, 'green', greenPort)
    await Promise.all([blue.start(), green.start()])
    await fleet.startController()
    const agent = await fleet.startAgent('edge-1', permitted(page))

    const { code, stdout, stderr } = await follow(page, fleet)
    expect(stderr).not.toMatch(/fleetcat:|curl:/)
    expect(code).toBe(0)
    expect(stdout).toContain(hello)
    expect(stdout).toMatch(/Targets of edge-1\n +TARGET +STATE/)

    const ask = async (port: number) => (await run(['curl', '-sS', `http://127.0.0.1:${port}/`])).stdout
    const twice = async () => new Set([await ask(pool), await ask(pool)])
    const states = async () => {
      const { status } = await fleet.json(['describe', 'relay/pool'])
      return status.agents[0].targets.map(({ state }: { state: string }) => state)
    }
    await until('both are up', async () => (await states()).join() === 'up,up')
    expect(await twice()).toEqual(new Set([hello, goodbye]))

    await blue.stop()
    expect(await ask(app)).toBe(goodbye)
    expect(await twice()).toEqual(new Set([goodbye]))
    await until('blue is down', async () => (await states()).join() === 'down,up')
    await blue.start()
    expect(await ask(app)).toBe(hello)
    await until('blue is up', async () => (await states()).join() === 'up,up')
    expect(await twice()).toEqual(new Set([hello, goodbye]))

    await blue.setSick(true)
    await until('blue is down', async () => (await states()).join() === 'down,up')
    expect(await ask(app)).toBe(hello)
    expect(await twice()).toEqual(new Set([goodbye]))
    await blue.setSick(false)
    await until('blue is up', async () => (await states()).join() === 'up,up')
    expect(agent.output()).toMatch(/"target\.down".*it answered HTTP 503/)
  },
  90_000,
)

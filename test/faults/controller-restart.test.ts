import { expect, test } from 'vitest'
import { openFleet } from '../e2e/fleet.ts'
import { until } from '../resources/until.ts'
import { openTraffic, sharedNow } from './traffic.ts'

const awayMs = 30_000

test('a controller that is killed, and back within half a minute, costs no connection', async () => {
  await using fleet = await openFleet()
  await using traffic = await openTraffic()
  const controller = await fleet.startController()
  const agent = await fleet.startAgent('edge-1')
  const listen = 'TCP4-LISTEN:0,bind=127.0.0.1,fork'
  await fleet.cat(['create', 'web', listen, `TCP4:127.0.0.1:${traffic.port}`, '--wait'])
  const [{ status }] = (await fleet.json(['list'])).items
  const port = Number(status.agents[0].local[0].split(':').at(-1))
  expect(await traffic.open(port)).toBeTypeOf('number')

  controller.kill('SIGKILL')
  await controller.ended
  const backAt = performance.now() + awayMs
  await until('it was away for long', () => performance.now() >= backAt, 2 * awayMs)
  expect(await traffic.open(port)).toBeTypeOf('number')
  await fleet.startController()
  await fleet.cat(['wait', 'relay/web', '--for', 'ready', '--timeout', '30s'])

  const talks = [...(await traffic.talks()).values()]
  expect(talks.map(({ closed }) => closed)).toEqual([false, false])
  const since = sharedNow()
  await until('they still talk', async () => {
    return [...(await traffic.talks()).values()].every(({ backwardUntil }) => backwardUntil > since)
  })
  expect(agent.output()).not.toContain('relay.lapsed')
}, 120_000)

import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { type Fleet, openFleet } from '../e2e/fleet.ts'
import { kernelSockets } from '../resources/kernel-sockets.ts'
import { needing } from '../resources/needs.ts'
import type { Program } from '../resources/program.ts'
import { until } from '../resources/until.ts'
import { openTraffic, sharedNow } from './traffic.ts'

const leaseMs = 5_000
const offsets = ['+1h', '-1h', '+400d', '-400d']
const listen = 'TCP4-LISTEN:0,bind=127.0.0.1,fork'

/** The environment of a process whose clock somebody can set, and how to. */
function settableClock(file: string) {
  const { stdout } = spawnSync('sh', ['-c', 'faketime -f +0 printenv LD_PRELOAD'], { encoding: 'utf8' })
  const set = (by: string) => writeFileSync(file, `${by}\n`)
  set('+0')
  return {
    set,
    env: {
      LD_PRELOAD: stdout.trim(),
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
    },
  }
}

async function portsOf(fleet: Fleet): Promise<Map<string, number>> {
  const [{ status }] = (await fleet.json(['list'])).items
  return new Map(
    status.agents.map(({ agent, local }: { agent: string; local: string[] }) => {
      return [agent, Number(local[0]!.split(':').at(-1))]
    }),
  )
}

needing('faketime')(
  'a host whose clock is set keeps its lease for as long as it lasts, and not longer',
  async () => {
    await using fleet = await openFleet()
    await using traffic = await openTraffic()
    const controller = await fleet.startController()
    const hosts: { by: string; clock: ReturnType<typeof settableClock>; name: string; agent: Program }[] = []
    for (const [i, by] of offsets.entries()) {
      const clock = settableClock(join(fleet.folder, `clock-${i}`))
      const name = `edge-${i}`
      const agent = await fleet.startAgent(name, { labels: { tried: 'yes' }, env: clock.env })
      hosts.push({ by, clock, name, agent })
    }
    const target = `TCP4:127.0.0.1:${traffic.port}`
    await fleet.cat(['create', 'web', '-l', 'tried=yes', '--lease', '5s', listen, target, '--wait'])
    const ports = await portsOf(fleet)
    for (const port of ports.values()) expect(await traffic.open(port)).toBeTypeOf('number')

    const lapses = () => hosts.map(({ agent }) => agent.output().split('relay.lapsed').length)
    const before = lapses()
    for (const { clock, by } of hosts) clock.set(by)
    const later = sharedNow() + leaseMs + 1_000
    await until('each of them still talks, after more time than a lease has', async () => {
      return [...(await traffic.talks()).values()].every(({ backwardUntil }) => backwardUntil > later)
    })
    expect(lapses()).toEqual(before)

    controller.kill('SIGSTOP')
    for (const { by, name, agent } of hosts) {
      const sockets = () => kernelSockets(agent.pid).filter(({ localPort }) => localPort === ports.get(name))
      await until(`${by}: it has let go`, () => sockets().length === 0, 3 * leaseMs)
    }
    const stoppedFor = [...(await traffic.talks()).values()].map(({ closed }) => closed)
    expect(stoppedFor).toEqual(offsets.map(() => true))
    controller.kill('SIGCONT')
  },
  90_000,
)

needing('faketime').each(['+1h', '-1m'])(
  'a controller whose clock is set (%s) says no fence that has not passed has passed',
  async by => {
    const long = 20_000
    await using fleet = await openFleet()
    const clock = settableClock(join(fleet.folder, 'clock'))
    await fleet.startController({ env: clock.env })
    const agent = await fleet.startAgent('edge-1')
    await fleet.cat(['create', 'web', '--lease', '20s', listen, 'TCP4:127.0.0.1:9', '--wait'])

    agent.kill('SIGSTOP')
    const stoppedAt = Date.now()
    clock.set(by)
    const outcome = await fleet.cat(['revoke', 'relay/web', '-o', 'json'], 6)
    const [{ verdict, fencedBy }] = JSON.parse(outcome.stdout).receipts
    expect(verdict).toBe('fenced')
    // It asks at each third of its lease.
    expect(Date.parse(fencedBy)).toBeGreaterThan(stoppedAt + long - long / 2)
    expect(Date.parse(fencedBy)).toBeLessThanOrEqual(Date.now() + long + 1_000)
  },
  60_000,
)

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startAgent, tokenFor } from '../agent.ts'
import { type Comparison, compare, microseconds, perSecond, sampleMs } from '../comparison.ts'
import { startFleet } from '../fleet.ts'
import type { Bench, BenchContext, Outcome } from '../harness.ts'
import { freePort } from '../ports.ts'
import { tunnelPeers } from '../tunnel-peers.ts'
import { noRelay, type OpenWay, ours } from '../ways.ts'

/** A relay on one agent whose target is on another; controller and agents are a process each. */
export function throughTunnel(how: 'through the controller' | 'straight'): OpenWay {
  return async (target, serve) => {
    await using opening = new AsyncDisposableStack()
    const fleet = opening.use(await startFleet('controller'))
    const folder = await mkdtemp(join(tmpdir(), 'fleetcat-bench-tunnel-'))
    opening.defer(() => rm(folder, { recursive: true, force: true }))
    const token = await tokenFor(fleet, {}, 2)
    const begin = async (name: string, more: readonly string[] = []) =>
      opening.use(await startAgent(fleet, { token, name, data: join(folder, name), more }))
    const straight = how === 'straight' ? ['--tunnel-listen', `127.0.0.1:${await freePort()}`] : []
    const far = await begin('b', straight)
    const near = await begin('a')
    const port = await freePort()
    const to = `@b/TCP4:127.0.0.1:${await target.ask({ serve })}`
    await fleet.run('create', 'bench', '--on', 'a', `TCP4-LISTEN:${port},bind=127.0.0.1,fork`, to, '--wait')
    const held = opening.move()
    return {
      name: `${ours}, ${how}`,
      port,
      pid: near.pid,
      far: far.pid,
      joining: fleet.pid,
      [Symbol.asyncDispose]: () => held.disposeAsync(),
    }
  }
}

function through(cx: BenchContext, comparison: Comparison): Promise<Outcome> {
  const ways = [noRelay, throughTunnel('through the controller'), throughTunnel('straight')]
  return compare(cx, { ...comparison, againstBest: true, known: tunnelPeers, ways })
}

const ends =
  'Everything on one machine, and encrypted by a process at each end; ssh has AES-128-GCM too, which is its quickest.'

export const tunnelStream: Bench = {
  name: 'tunnel-stream',
  title: 'One TCP stream through a tunnel',
  about: `One connection, read as fast as it comes for 1.5 s a sample. ${ends}`,
  run: cx =>
    through(cx, {
      serve: 'source',
      unit: 'GB/s',
      question: ({ port }) => ({ do: 'stream', port, ms: sampleMs }),
      show: value => (value / 1e9).toFixed(2),
      cpu: { unit: 's a GB', show: seconds => (seconds * 1e9).toFixed(2) },
    }),
}

export const tunnelRequests: Bench = {
  name: 'tunnel-requests',
  title: 'Small requests on 20 kept connections through a tunnel',
  about: `100 bytes there, 100 bytes back, then the next; 20 connections at once, 1.5 s a sample. ${ends}`,
  run: cx =>
    through(cx, {
      serve: 'echo',
      unit: 'requests/s',
      question: ({ port }) => ({ do: 'requests', port, connections: 20, ms: sampleMs }),
      show: perSecond,
      cpu: { unit: 'µs a request', show: microseconds },
    }),
}

export const tunnelConnections: Bench = {
  name: 'tunnel-connections',
  title: 'New connections through a tunnel',
  about: `Connect, one byte there and back, close; 20 at a time, up to 4,000 or 1.5 s a sample. ${ends}`,
  run: cx =>
    through(cx, {
      serve: 'echo',
      unit: 'connections/s',
      question: ({ port }) => ({ do: 'connect', port, total: 4_000, ms: sampleMs }),
      show: perSecond,
      cpu: { unit: 'µs a connection', show: microseconds },
    }),
}

export const tunnelRoundTrip: Bench = {
  name: 'tunnel-round-trip',
  title: 'One round trip at a time through a tunnel',
  about: `100 bytes there and 100 back on one connection, with nothing else on the way, over and over for 1.5 s a sample: how long one takes is in brackets. ${ends}`,
  run: cx =>
    through(cx, {
      serve: 'echo',
      unit: 'round trips/s (µs each)',
      question: ({ port }) => ({ do: 'requests', port, connections: 1, ms: sampleMs }),
      show: value => `${perSecond(value)} (${microseconds(1 / value)})`,
      cpu: { unit: 'µs a round trip', show: microseconds },
    }),
}

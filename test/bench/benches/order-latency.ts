import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { RevokeRequest } from '#gen/fleetcat/v1/operator.ts'
import { RelaySpec } from '#gen/fleetcat/v1/relay.ts'
import { unary } from '#wire/call.ts'
import { type Fleet, startFleet } from '../fleet.ts'
import type { Bench } from '../harness.ts'
import { freePort } from '../ports.ts'
import { startHelper } from '../processes.ts'
import type { TargetQuestion } from '../programs/target.ts'
import { spread } from '../statistics.ts'

const orders = 200
const warmUp = 10
const patienceMs = 5_000

async function createToAccepting(fleet: Fleet, name: string, listen: number, target: number) {
  const spec = RelaySpec.fromPartial({
    listen: `TCP4-LISTEN:${listen},bind=127.0.0.1,fork`,
    targets: [`TCP4:127.0.0.1:${target}`],
    agents: ['local'],
  })
  const draft = { name, labels: {}, spec, reason: '' }
  const request = { draft, requestId: '', dryRun: false }
  const began = performance.now()
  const answered = unary(fleet.operator, fleet.operator.createRelay, request, { what: `create ${name}` })
  const socket = await accepted(listen)
  const ms = performance.now() - began
  await answered
  return { ms, socket }
}

/** Knocks each millisecond, for nobody tells a client that a port has opened. */
async function accepted(port: number): Promise<Socket> {
  const deadline = performance.now() + patienceMs
  for (;;) {
    const socket = connect({ port, host: '127.0.0.1' })
    try {
      await once(socket, 'connect')
      return socket
    } catch (error) {
      if (performance.now() > deadline) throw error
      await delay(1)
    }
  }
}

async function revokeToReset(fleet: Fleet, name: string, socket: Socket): Promise<number> {
  socket.write('x')
  await once(socket, 'data')
  const cut = new Promise<number>((resolve, reject) => {
    socket.once('error', (error: NodeJS.ErrnoException) =>
      error.code === 'ECONNRESET' ? resolve(performance.now()) : reject(error),
    )
    socket.once('end', () => reject(new Error('the connection ended without a reset')))
  })
  const request = RevokeRequest.fromPartial({ target: `relay/${name}`, reason: 'bench' })
  const began = performance.now()
  const answered = unary(fleet.operator, fleet.operator.revoke, request, { what: `revoke ${name}` })
  const ms = (await cut) - began
  await answered
  return ms
}

export const orderLatency: Bench = {
  name: 'order-latency',
  title: 'From an order to what it does, one agent',
  about: `${orders} relays, one after the other: from the call to the first connection that its listener accepts (knocking each millisecond), and from the call to the reset that the client of a live connection sees. Both orders are on disk in that time.`,
  async run({ say }) {
    await using fleet = await startFleet('up')
    await using target = await startHelper<TargetQuestion, number>('target.ts')
    const port = await target.ask({ serve: 'echo' })
    const creates: number[] = []
    const revokes: number[] = []
    for (let n = 0; n < warmUp + orders; n++) {
      const name = `bench-${n}`
      const { ms, socket } = await createToAccepting(fleet, name, await freePort(), port)
      creates.push(ms)
      revokes.push(await revokeToReset(fleet, name, socket))
      if (n % 50 === 49) say(`${n + 1} orders`)
    }
    const row = (name: string, samples: readonly number[]) => {
      const { p50, p99, max } = spread(samples.slice(warmUp))
      return [name, ...[p50, p99, max].map(ms => ms.toFixed(1))]
    }
    return {
      columns: ['', 'p50 ms', 'p99 ms', 'max ms'],
      rows: [row('create to accepting', creates), row('revoke to reset', revokes)],
      raw: { unit: 'ms', warmUp, creates, revokes },
    }
  },
}

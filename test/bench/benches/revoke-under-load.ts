import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { RevokeRequest } from '#gen/fleetcat/v1/operator.ts'
import { RelaySpec, RelayState } from '#gen/fleetcat/v1/relay.ts'
import { unary } from '#wire/call.ts'
import { type Fleet, startFleet } from '../fleet.ts'
import type { Bench } from '../harness.ts'
import { freePort } from '../ports.ts'
import { accepting, startHelper } from '../processes.ts'
import type { TargetQuestion } from '../programs/target.ts'
import { spread } from '../statistics.ts'

const orders = 40
const warmUp = 5

async function create({ operator }: Fleet, name: string, target: number): Promise<number> {
  const listen = await freePort()
  const spec = RelaySpec.fromPartial({
    listen: `TCP4-LISTEN:${listen},bind=127.0.0.1,fork`,
    targets: [`TCP4:127.0.0.1:${target}`],
    agents: ['local'],
  })
  const request = { draft: { name, labels: {}, spec, reason: '' }, requestId: '', dryRun: false }
  const { relay } = await unary(operator, operator.createRelay, request, { what: `create ${name}` })
  if (relay?.state !== RelayState.READY) await accepting(listen)
  return listen
}

/** From the call to the end of the connection, as its client sees it. */
async function revoke({ operator }: Fleet, name: string, socket: Socket): Promise<number> {
  const lost = new Promise<number>(resolve => socket.once('close', () => resolve(performance.now())))
  const request = RevokeRequest.fromPartial({ target: `relay/${name}`, reason: 'bench' })
  const began = performance.now()
  const answered = unary(operator, operator.revoke, request, { what: `revoke ${name}` })
  const ms = (await lost) - began
  await answered
  return ms
}

async function open(port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  socket.on('error', () => {})
  await once(socket, 'connect')
  return socket
}

export const revokeUnderLoad: Bench = {
  name: 'revoke-under-load',
  title: 'A revoke while the agent moves data as fast as it can',
  about: `${orders} times, with one TCP stream going through the agent at full speed: from the call to the reset that the client of an idle connection of another relay sees, and then to the end of the busy stream itself. Controller and agent are one process (\`fleetcat up\`).`,
  async run({ say }) {
    await using fleet = await startFleet('up')
    await using echo = await startHelper<TargetQuestion, number>('target.ts')
    await using source = await startHelper<TargetQuestion, number>('target.ts')
    const [echoPort, sourcePort] = [await echo.ask({ serve: 'echo' }), await source.ask({ serve: 'source' })]
    const [idle, busy]: [number[], number[]] = [[], []]
    let bytes = 0
    for (let n = 0; n < warmUp + orders; n++) {
      const stream = await open(await create(fleet, `busy-${n}`, sourcePort))
      stream.on('data', chunk => {
        bytes += chunk.length
      })
      const quiet = await open(await create(fleet, `idle-${n}`, echoPort))
      quiet.write('x')
      await once(quiet, 'data')
      const before = bytes
      idle.push(await revoke(fleet, `idle-${n}`, quiet))
      if (bytes === before && n > warmUp) say('nothing moved meanwhile')
      busy.push(await revoke(fleet, `busy-${n}`, stream))
      if (n % 10 === 9) say(`${n + 1} orders`)
    }
    const row = (name: string, samples: readonly number[]) => {
      const { p50, p99, max } = spread(samples.slice(warmUp))
      return [name, ...[p50, p99, max].map(ms => ms.toFixed(1))]
    }
    return {
      columns: ['', 'p50 ms', 'p99 ms', 'max ms'],
      rows: [row('an idle connection of another relay', idle), row('the busy stream itself', busy)],
      raw: { unit: 'ms', warmUp, idle, busy, bytes },
    }
  },
}

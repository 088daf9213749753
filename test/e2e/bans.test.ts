import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openListener } from '../resources/listener.ts'
import { openServer } from '../resources/servers.ts'
import { until } from '../resources/until.ts'
import { type Fleet, openFleet } from './fleet.ts'

const listen = 'TCP4-LISTEN:0,bind=127.0.0.1,fork'

/** Where relay `web` listens on each of its agents. */
async function portsOf(fleet: Fleet): Promise<number[]> {
  const { items } = await fleet.json(['list'])
  const agents: { agent: string; local: string[] }[] = items[0].status.agents
  return agents.map(({ local }) => Number(local[0]?.split(':').at(-1)))
}

test('whoever is turned away again and again on one host is shut out of all hosts of the relay, until it is lifted', async () => {
  await using target = await openServer(socket => socket.pipe(socket))
  await using fleet = await openFleet()
  await fleet.startController()
  await fleet.startAgent('edge-1')
  await fleet.startAgent('edge-2')
  const rules = ['--deny-from', '127.0.0.66', '--ban-after', '3/1m', '--ban-for', '10m']
  const on = ['--on', 'edge-1', '--on', 'edge-2']
  await fleet.cat(['create', 'web', ...on, listen, `TCP4:127.0.0.1:${target.port}`, ...rules, '--wait'])
  const [first = 0] = await portsOf(fleet)
  const turnedAway = async () => {
    using visitor = await openListener(first, '127.0.0.66')
    await until('it is turned away', visitor.closed)
  }
  for (let i = 0; i < 3; i++) await turnedAway()
  const revocation = async () => (await fleet.json(['revocations'])).items[0]
  await until('both agents have shut it out', async () => {
    const receipts: { verdict: string }[] = (await revocation())?.receipts ?? []
    return receipts.length === 2 && receipts.every(({ verdict }) => verdict === 'cut')
  })
  expect(await revocation()).toMatchObject({
    target: 'source/127.0.0.66/32',
    by: 'agent/edge-1 (automatic)',
    state: 'active',
    relays: ['web'],
  })
  const refusals = async () => (await fleet.json(['list'])).items[0].status.agents[0].refusals
  await turnedAway()
  await until('it is refused as banned', async () => (await refusals())['banned-source'] > 0)
  await fleet.cat(['lift', (await revocation()).id])
  await turnedAway()
  await until('it is refused by its rule again', async () => (await refusals())['denied-source'] > 3)
}, 60_000)

test('a narrower allow rule cuts whom it no longer allows, on every host, and nobody else', async () => {
  await using target = await openServer(socket => socket.pipe(socket))
  await using fleet = await openFleet()
  await fleet.startController()
  await fleet.startAgent('edge-1')
  await fleet.startAgent('edge-2')
  const apply = async (allowFrom: string[]) => {
    const spec = { listen, target: `TCP4:127.0.0.1:${target.port}`, agents: ['edge-1', 'edge-2'] }
    const relay = { apiVersion: 'fleetcat/v1', kind: 'Relay', metadata: { name: 'web' } }
    const file = join(fleet.folder, 'web.json')
    await writeFile(file, JSON.stringify({ ...relay, spec: { ...spec, limits: { allowFrom } } }))
    await fleet.cat(['apply', '-f', file])
    await fleet.cat(['wait', 'relay/web', '--for', 'ready'])
  }
  await apply(['127.0.0.0/8'])
  const ports = await portsOf(fleet)
  await using stack = new AsyncDisposableStack()
  const open = async (port: number, from: string) => {
    const visitor = stack.use(await openListener(port, from))
    visitor.socket.write('hello')
    await until('the relay carries', () => visitor.heard() === 'hello')
    return visitor
  }
  const outside = await Promise.all(ports.map(port => open(port, '127.0.1.2')))
  const inside = await Promise.all(ports.map(port => open(port, '127.0.0.2')))
  await apply(['127.0.0.0/24'])
  await until('those outside are cut', () => outside.every(({ closed }) => closed()))
  for (const visitor of inside) visitor.socket.write(', still here')
  await until('those inside stay', () => inside.every(({ heard }) => heard() === 'hello, still here'))
  expect(await portsOf(fleet)).toEqual(ports)
}, 60_000)

import type { Socket } from 'node:net'
import { connect } from 'node:net'
import { expect, test } from 'vitest'
import { desired, openHost, permit } from '../agent/resources.ts'
import { openController } from '../resources/fleet.ts'
import { kernelSockets } from '../resources/kernel-sockets.ts'
import { seededRandom } from '../resources/random.ts'
import { openServer } from '../resources/servers.ts'
import { until } from '../resources/until.ts'
import { connectionsOf, createReady, startHost } from './host.ts'

/** Clients that come and go, at most so many at a time. */
function crowd(port: number, most: number, { random, pick }: ReturnType<typeof seededRandom>) {
  const clients = new Set<Socket>()
  return {
    clients,
    step() {
      if (clients.size < most && random() < 0.6) {
        const client = connect({ host: '127.0.0.1', port })
        client.on('error', () => {})
        client.on('close', () => clients.delete(client))
        client.write('hello')
        clients.add(client)
      } else if (clients.size > 0) {
        const client = pick([...clients])
        if (random() < 0.5) client.destroy()
        else client.end()
      }
    },
    [Symbol.asyncDispose]: async () => {
      for (const client of clients) client.destroy()
      await until('all clients are gone', () => clients.size === 0)
    },
  }
}

/** Who has a connection to this port of that process. */
const accepted = (pid: number, port: number) =>
  kernelSockets(pid)
    .filter(({ localPort, listens }) => localPort === port && !listens)
    .map(({ remote }) => remote)
    .sort()

test('whoever has a connection is on the roster, at each moment of a crowd that comes and goes', async () => {
  await using target = await openServer(socket => socket.pipe(socket))
  await using host = openHost({ rules: { permit: permit('TCP:127.0.0.1:*'), forbid: [] } })
  await host.reconciler.sync([desired('r-1', { targets: [`TCP4:127.0.0.1:${target.port}`] })])
  const port = Number(host.reconciler.report('r-1')!.local[0]!.split(':')[1])
  await using people = crowd(port, 60, seededRandom())
  let most = 0
  for (let step = 0; step < 600; step++) {
    people.step()
    await new Promise(setImmediate)
    if (step % 5 > 0) continue
    const listed = new Set([...host.roster.live.values()].map(({ source }) => source))
    const there = accepted(process.pid, port)
    most = Math.max(most, there.length)
    expect(there.filter(remote => !listed.has(remote))).toEqual([])
  }
  expect(most).toBeGreaterThan(10)
  await until('the list is the same, once nobody comes or goes', () => {
    const listed = [...host.roster.live.values()].map(({ source }) => source).sort()
    return listed.join() === accepted(process.pid, port).join()
  })
}, 60_000)

test('the controller lists what the kernel of the host has, whenever the crowd stands still', async () => {
  await using target = await openServer(socket => socket.pipe(socket))
  await using controller = await openController()
  await using host = await startHost(controller)
  const targets = [`TCP4:127.0.0.1:${target.port}`]
  const { port } = await createReady(controller, 'web', {
    listen: 'TCP4-LISTEN:0,bind=127.0.0.1,fork',
    targets,
  })
  await using people = crowd(port, 200, seededRandom())
  for (let round = 0; round < 3; round++) {
    for (let step = 0; step < 200; step++) {
      people.step()
      if (step % 10 === 0) await new Promise(setImmediate)
    }
    await until('list and kernel agree', async () => {
      const listed = (await connectionsOf(controller, 'web')).map(({ source }) => source).sort()
      const { pid } = host.agent
      const dialled = kernelSockets(pid).filter(({ remotePort }) => remotePort === target.port)
      return listed.join() === accepted(pid, port).join() && dialled.length === listed.length
    })
  }
}, 60_000)

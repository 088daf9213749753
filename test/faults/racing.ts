import { connect, type Socket } from 'node:net'
import type { Desired } from '#gen/fleetcat/v1/agent.ts'
import { openEgress } from '#relay/egress.ts'
import { bindAddress } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'
import { type Connection, openRelay, type RunningRelay } from '#relay/relay.ts'
import { desired, openHost } from '../agent/resources.ts'
import { openEchoServer } from '../resources/servers.ts'
import { until } from '../resources/until.ts'

/** Numbers between 0 and 1. */
export type Random = () => number

const revoked = new RelayError('revoked', { what: 'the relay', why: 'the test says so' })
const clientsEach = 3

async function turns(count: number): Promise<void> {
  for (let n = 0; n < count; n++) await new Promise(setImmediate)
}

/** The finest grain at which anything here can interleave. */
async function steps(count: number): Promise<void> {
  for (let n = 0; n < count; n++) await undefined
}

function client(port: number, from: string): Socket {
  const socket = connect({ host: '127.0.0.1', port, localAddress: from })
  socket.on('error', () => {})
  socket.on('data', () => socket.write('more'))
  socket.on('connect', () => socket.write('hello'))
  return socket
}

async function gone(sockets: readonly Socket[]): Promise<void> {
  const open = sockets.filter(socket => !socket.closed)
  await Promise.all(open.map(socket => new Promise(resolve => socket.once('close', resolve))))
}

/** Each of these throws when something has survived. */
export interface Races extends AsyncDisposable {
  /** So many connections were met by a cut: without any, nothing was tried. */
  readonly met: number
  /** Clients come while the relay is aborted. */
  abort(): Promise<void>
  /** A connection is cut while it comes, while its target is opened, or while it talks. */
  cut(): Promise<void>
  /** A source is shut out while clients come from it. */
  ban(): Promise<void>
  /** A relay is revoked while it is being made or changed. */
  order(): Promise<void>
}

/** Arrivals and cuts at random moments, in this process, over real sockets. */
export async function openRaces(random: Random): Promise<Races> {
  const held = new AsyncDisposableStack()
  const echo = held.use(await openEchoServer())
  const host = held.use(openHost())
  const banned = '127.0.0.7'
  let isBanned = false
  let ids = 0
  let opened = 0
  let closed = 0
  let seen: Connection[] = []
  let door = Promise.withResolvers<void>()
  let met = 0

  /** Of those who come, some have to wait for a place: they are let in, and not yet listed. */
  function open(): RunningRelay {
    const places = random() < 0.5 ? ',max-children=2' : ''
    return openRelay(
      {
        id: `relay-${++ids}`,
        name: 'raced',
        listen: bindAddress(`TCP4-LISTEN:0,bind=127.0.0.1,fork${places}`),
        targets: [bindAddress(`TCP4:127.0.0.1:${echo.port}`)],
        limits: {},
      },
      {
        egress: openEgress,
        isBanned(ip) {
          door.resolve()
          return isBanned && ip === banned
        },
        newConnectionId: () => `connection-${++ids}`,
        observer: {
          state() {},
          opened(connection) {
            opened++
            if (connection.sourceIp === banned) seen.push(connection)
          },
          closed(_, { cause }) {
            closed++
            if (cause === 'revoked' || cause === 'denied') met++
          },
          refused() {},
          failed() {},
        },
      },
    )
  }

  async function ready(relay: RunningRelay): Promise<number> {
    await until('it is ready', () => relay.state.name === 'ready')
    return relay.state.name === 'ready' ? Number(relay.state.local[0]?.split(':').at(-1)) : 0
  }

  function come(port: number, from = '127.0.0.1'): Socket[] {
    door = Promise.withResolvers()
    return Array.from({ length: clientsEach }, () => client(port, from))
  }

  async function nothingLeft(relay: RunningRelay): Promise<void> {
    if (relay.connections.size > 0) throw new Error(`${relay.connections.size} connections survived`)
    if (opened !== closed) throw new Error(`${opened} connections were opened and ${closed} closed`)
    await until('the target has lost them all', () => echo.sockets.size === 0)
  }

  const upTo = (count: number) => Math.floor(random() * count)

  /** Any turn, or just when somebody is being let in. */
  async function moment(): Promise<void> {
    if (random() < 0.5) return turns(upTo(8))
    await door.promise
    return steps(upTo(8))
  }
  let between: RunningRelay | undefined
  held.defer(async () => between?.[Symbol.asyncDispose]())

  /** One relay serves many races: those that do not end it. */
  async function lasting(): Promise<{ relay: RunningRelay; port: number }> {
    between ??= open()
    return { relay: between, port: await ready(between) }
  }

  return {
    get met() {
      return met
    },
    async abort() {
      const relay = open()
      const port = await ready(relay)
      const clients = come(port)
      await moment()
      const { connectionsCut } = await relay.abort(revoked)
      if (connectionsCut > clientsEach) throw new Error('it cut more than there were')
      await nothingLeft(relay)
      await gone(clients)
      await relay[Symbol.asyncDispose]()
    },
    async cut() {
      const { relay, port } = await lasting()
      const clients = come(port)
      const before = opened
      await until('the first has come', () => opened > before)
      await moment()
      for (const id of [...relay.connections.keys()]) {
        await relay.cut(id, revoked)
        if (relay.connections.has(id)) throw new Error('a connection that was cut is listed')
      }
      // Those that came meanwhile were never asked to go.
      for (const socket of clients) socket.destroy()
      await gone(clients)
      await until('all are gone', () => relay.connections.size === 0)
      await nothingLeft(relay)
    },
    async ban() {
      await between?.[Symbol.asyncDispose]()
      between = undefined
      const { relay, port } = await lasting()
      const others = random() < 0.5 ? come(port, '127.0.0.8') : []
      const shut = come(port, banned)
      const welcome = [...others, ...come(port, '127.0.0.8')]
      await moment()
      isBanned = true
      await relay.cutBanned(revoked)
      const moved = () => seen.reduce((sum, { bytesIn, bytesOut }) => sum + bytesIn + bytesOut, 0)
      const before = moved()
      await gone(shut)
      for (const socket of welcome) socket.destroy()
      await gone(welcome)
      if (moved() > before) throw new Error('a source that is shut out has talked')
      seen = []
      isBanned = false
      await until('all are gone', () => relay.connections.size === 0)
      await nothingLeft(relay)
    },
    async order() {
      const relayId = `r-${++ids}`
      const words = (generation: bigint): Desired =>
        desired(relayId, { generation, listen: `MEMORY-LISTEN:${relayId}-${generation},fork` })
      const { reconciler, revocations } = host
      const acts = [
        reconciler.apply([words(1n)], []),
        steps(upTo(60)).then(() => reconciler.apply([words(2n)], [])),
        steps(upTo(60)).then(() => reconciler.sync([words(3n)])),
      ]
      await (random() < 0.5 ? steps(upTo(60)) : turns(upTo(8)))
      const wasOpen = reconciler.report(relayId)?.local.length
      const target = { $case: 'relayId' as const, value: relayId }
      await revocations.obey({ revocationId: `v-${relayId}`, target, reason: '', revision: 1n })
      const isOpen = () => (reconciler.report(relayId)?.local.length ?? 0) > 0
      if (wasOpen) met++
      if (isOpen()) throw new Error('a relay that was revoked is open after the receipt')
      await Promise.all(acts)
      if (isOpen()) throw new Error('a relay that was revoked was opened after the receipt')
      await reconciler.sync([])
    },
    async [Symbol.asyncDispose]() {
      await held.disposeAsync()
    },
  }
}

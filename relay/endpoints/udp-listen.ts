import type { RemoteInfo } from 'node:dgram'
import type { Address } from '../address.ts'
import type { Channel, Listener, OpenContext, Peer } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { canonicalIp } from '../ip.ts'
import type { OptionValues } from '../options.ts'
import { startTimer } from '../timer.ts'
import { openArrivals } from './arrivals.ts'
import { type Datagrams, openDatagrams, roomPerPort } from './datagrams.ts'
import { hostPort, type IpVersion } from './ip-parts.ts'
import { mayComeFrom } from './tcp-kernel.ts'
import { openAllowance, openFlowTable, openShutPeers } from './udp-flows.ts'
import { bindingOf } from './udp-names.ts'
import type { multicastOptions, udpBindOptions, udpFlowOptions, udpOptions } from './udp-options.ts'
import { openUdp } from './udp-socket.ts'

export interface UdpListenTarget {
  readonly scope: Address
  readonly host: string
  readonly port: number
  readonly family: IpVersion | undefined
  /** What makes a conversation: all that comes from one address and port, or each datagram by itself. */
  readonly per: 'peer' | 'datagram'
  readonly options: OptionValues<
    readonly [typeof udpOptions, typeof multicastOptions, typeof udpBindOptions, typeof udpFlowOptions]
  >
}

/** As many as fit into a process with few descriptors would be too few for a resolver: see `openFlowTable`. */
const defaultMaxFlows = 4_096
const defaultAmplification = 3
/** Nothing tells that a conversation is over. A minute is what routers give a UDP flow too. */
const peerIdleMs = 60_000
/** For the answers to one datagram. */
const answerIdleMs = 10_000
const queueLength = 511

interface Flow {
  readonly channel: Channel
  receive(datagram: Buffer): void
  /** Ends it for want of room. */
  giveWay(): void
}

/**
 * Waits for datagrams and makes conversations of them, all through the one socket: a reply leaves from the port that
 * was asked.
 */
export async function listenUdp(target: UdpListenTarget, cx: OpenContext): Promise<Listener> {
  const { scope, options, per } = target
  const { fork = false, maxFlows = defaultMaxFlows, acceptTimeout = Infinity } = options
  const socket = await openUdp(await bindingOf(target, cx), options)
  const bound = socket.address()
  const flows = openFlowTable<Flow>(maxFlows)
  const shut = openShutPeers(peerIdleMs, defaultMaxFlows)
  const room = { left: roomPerPort }
  let isOver = false
  let count = 0

  const stopWaiting = startTimer(acceptTimeout, () => {
    const why = `nothing has come within ${acceptTimeout} ms`
    arrivals.fail(new RelayError('timed-out', { what: scope.text, why }))
  })
  const arrivals = openArrivals(cx, {
    local: hostPort(bound.address, bound.port),
    fork,
    queue: queueLength,
    // Conversations that go on need the socket: the last of them closes it.
    close() {
      stopWaiting()
      isOver = true
      if (flows.size === 0) socket.close()
    },
  })

  const local = () => ({ address: ipOf(bound.address) ?? bound.address, port: bound.port })

  const begin = (key: string, from: RemoteInfo): Flow | undefined => {
    if (isOver) return undefined
    const peer = { ...peerOf(from), local }
    if (shut.has(key)) {
      cx.turnedAway?.('cut-peer', peer)
      return undefined
    }
    const flow = openFlow(key, from, peer)
    flows.add(key, flow)
    arrivals.offer(flow.channel)
    if (flow.channel.stream.destroyed) return undefined
    stopWaiting()
    flows.surplus()?.giveWay()
    return flow
  }

  const openFlow = (key: string, from: RemoteInfo, peer: Peer): Flow => {
    const allowance = openAllowance(options.amplification ?? defaultAmplification)
    const carrier = {
      send(datagram: Buffer, done: (error?: Error | null) => void) {
        if (allowance.spend(datagram.length)) return socket.send(datagram, from.port, from.address, done)
        cx.turnedAway?.('amplification', peer)
        done()
      },
      close(done: () => void) {
        flows.remove(key, flow)
        if (isOver && flows.size === 0) socket.close(done)
        else done()
      },
      dropped: () => cx.turnedAway?.('overflow', peer),
      aborted({ code }: RelayError) {
        if (code === 'revoked' && per === 'peer') shut.shut(key)
      },
    }
    const { nullEof, shutNull } = options
    const idleMs = per === 'datagram' ? answerIdleMs : fork ? peerIdleMs : undefined
    const datagrams: Datagrams = openDatagrams(carrier, { peer, room, nullEof, shutNull, idleMs })
    const flow: Flow = {
      channel: datagrams.channel,
      receive(datagram) {
        allowance.received(datagram.length)
        datagrams.receive(datagram)
        if (per === 'datagram') datagrams.end()
      },
      giveWay() {
        cx.turnedAway?.('displaced', peer)
        const why = `${maxFlows} others were heard from later, and there is no room for more`
        const fix = 'Raise `max-flows`, or narrow `range`'
        datagrams.fail(new RelayError('exhausted', { what: `the conversation with ${peer.text}`, why, fix }))
      },
    }
    return flow
  }

  socket.on('message', (datagram, from) => {
    if (!mayComeFrom(from.port, options)) return
    const key = per === 'peer' ? `${from.address} ${from.port}` : String(count++)
    const flow = flows.heard(key) ?? begin(key, from)
    flow?.receive(datagram)
  })
  socket.on('error', error => arrivals.fail(RelayError.from(error, scope.text)))
  return arrivals
}

/**
 * Waits for datagrams and makes one conversation of them all, whoever sends them. There is no answering: it would
 * not be known whom.
 */
export async function receiveUdp(
  target: Omit<UdpListenTarget, 'per' | 'options'> & {
    readonly options: OptionValues<
      readonly [typeof udpOptions, typeof multicastOptions, typeof udpBindOptions]
    >
  },
  cx: OpenContext,
): Promise<Listener> {
  const { scope, options } = target
  const socket = await openUdp(await bindingOf(target, cx), options)
  const bound = socket.address()
  const peer: Peer = { text: '*', many: true }
  const arrivals = openArrivals(cx, {
    local: hostPort(bound.address, bound.port),
    fork: false,
    queue: 1,
    // The one conversation has the socket, and closes it.
    close() {},
  })
  const datagrams = openDatagrams(
    {
      send: (_datagram, done) => done(),
      close: done => void socket.close(done),
      dropped: () => cx.turnedAway?.('overflow', peer),
    },
    { peer, room: { left: roomPerPort }, nullEof: options.nullEof, oneWay: 'source' },
  )
  socket.on('message', (datagram, from) => {
    if (!mayComeFrom(from.port, options)) return
    if (cx.hears?.(ipOf(from.address)) ?? true) datagrams.receive(datagram)
  })
  socket.on('error', error => datagrams.fail(error))
  arrivals.offer(datagrams.channel)
  if (datagrams.channel.stream.destroyed) {
    arrivals.fail(
      new RelayError('exhausted', { what: scope.text, why: 'the relay takes no more connections' }),
    )
  }
  return arrivals
}

function peerOf({ address, port }: RemoteInfo): Peer {
  const ip = ipOf(address)
  return { text: hostPort(ip ?? address, port), ...(ip !== undefined && { ip }) }
}

/** What the kernel says of an IPv4 socket is canonical already; on an IPv6 one it may be a mapped IPv4 address. */
function ipOf(address: string): string | undefined {
  return address.includes(':') ? canonicalIp(address) : address
}

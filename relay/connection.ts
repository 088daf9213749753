import type { Channel, OpenContext, Peer, TunnelWay } from './endpoint.ts'
import { hostPort } from './endpoints/ip-parts.ts'
import { type ErrorCode, RelayError } from './errors.ts'
import type { FlowSettings } from './flow-settings.ts'
import { type Carriage, openCarriage } from './layers/carriage.ts'
import type { Tees } from './layers/tee.ts'
import { type Meter, newMeter, type PumpEnd, type PumpLimits, pump, type Tap } from './pump.ts'
import { type Opened, openFirst } from './targets/open-first.ts'
import type { Target, TargetStatus } from './targets/target.ts'

/** One live conversation through a relay, as it is listed. */
export interface Connection {
  readonly id: string
  readonly relayId: string
  readonly source: string
  readonly sourceIp?: string | undefined
  /** Many senders share it: each of their datagrams is judged by itself. */
  readonly manySources?: true | undefined
  /** The target that it talks to, or that is being dialled: where the client asked to go, if it was asked. */
  readonly target: string
  /** Where the target was found, once it is open. */
  readonly targetIp?: string | undefined
  /** How the tunnel goes whose other end opens the target, if there is one. */
  readonly way?: TunnelWay | undefined
  readonly tlsIdentity?: string | undefined
  readonly openedAt: Date
  /** How long no byte has moved, by a clock that nobody sets. */
  readonly idleMs: number
  /** From the client to the target. */
  readonly bytesIn: number
  /** From the target to the client. */
  readonly bytesOut: number
}

/** Of what was cut, also why: see `cutCauses`. */
export type EndCause =
  | 'eof'
  | 'idle'
  | 'lifetime'
  | 'failed'
  | 'revoked'
  | 'stopped'
  | 'lapsed'
  | 'expired'
  | 'out-of-hours'
  | 'denied'

export interface ConnectionEnd {
  readonly cause: EndCause
  readonly error?: RelayError
  readonly durationMs: number
}

export interface LiveConnection {
  readonly listed: Connection
  /** Resets both sides at once. Its descriptors are gone when `run` resolves. */
  cut(reason: RelayError): void
  /** Looks at the limits again, after they have changed. */
  recheck(): void
  /** From now on this sees what goes through; nobody does if undefined. */
  tap(tap: Tap | undefined): void
  /**
   * Opens a target, carries the bytes, and closes: resolves when all descriptors are gone. `failed` is told when no
   * target could be opened, or a tee broke. Never rejects.
   */
  run(failed: (error: RelayError) => void): Promise<ConnectionEnd>
}

export interface ConnectionParts {
  readonly id: string
  readonly relayId: string
  readonly client: Channel
  /** In the order in which they are tried. */
  readonly targets: readonly Target[]
  /** The counts of a target have changed. */
  readonly used: (target: TargetStatus) => void
  /** The target is open, and bytes begin to flow. */
  readonly joined?: (target: Peer) => void
  readonly limits: PumpLimits
  readonly cx: Omit<OpenContext, 'signal' | 'admit' | 'client' | 'retrying' | 'uses'>
  readonly flow?: FlowSettings | undefined
  /** A tee was too slow for a piece. */
  readonly teeLost: () => void
  /** Tees that have still something to write when the connection is over. */
  readonly finishing: (tees: Tees) => void
}

/** A class, for a busy host has ten thousand of them, and getters of their own would double what each one takes. */
class Listed implements Connection {
  readonly id: string
  readonly relayId: string
  readonly openedAt = new Date()
  target: string
  targetIp: string | undefined
  way: TunnelWay | undefined
  readonly #peer: Peer
  readonly #meter: Meter

  constructor({ id, relayId, client, targets }: ConnectionParts, meter: Meter) {
    this.id = id
    this.relayId = relayId
    this.target = targetOf(client, targets[0]!)
    this.#peer = client.peer
    this.#meter = meter
  }

  get source() {
    return this.#peer.text
  }
  get sourceIp() {
    return this.#peer.ip
  }
  get manySources() {
    return this.#peer.many
  }
  get tlsIdentity() {
    return this.#peer.identity
  }
  get idleMs() {
    return performance.now() - this.#meter.lastActiveAt
  }
  get bytesIn() {
    return this.#meter.sent
  }
  get bytesOut() {
    return this.#meter.received
  }
}

/** Takes over a client's channel. Nothing of it is read before a target is open. */
export function openConnection(parts: ConnectionParts): LiveConnection {
  const { id, client, targets, used, limits, cx, flow, teeLost, finishing } = parts
  const meter = newMeter()
  const listed = new Listed(parts, meter)
  const stopping = new AbortController()
  const { signal } = stopping
  const uses = usesOfTarget(client, flow)
  const awaited = client.awaited ?? client.asked

  function cut(reason: RelayError): void {
    stopping.abort(reason)
    client.abort(reason)
  }

  const dial = (): Promise<Opened> => {
    const trying = (target: Target) => {
      listed.target = targetOf(client, target)
    }
    const { asked } = client
    const whose = { connectionId: id, client: client.peer }
    const context = { ...cx, ...(uses && { uses }), ...(asked && { asked }), ...whose, signal }
    return openFirst(targets, context, { trying, used })
  }

  /**
   * Who has gone for good, or has to give way to newer ones as a conversation of datagrams may, needs no target any more:
   * it may be one that others wait for too. A stream that has merely ended is not closed, for nothing of it is read yet.
   */
  const dialWhileWanted = async (): Promise<Opened> => {
    const gone = new RelayError('closed', { what: `the connection of ${listed.source}`, why: 'it has gone' })
    const onClose = () => stopping.abort(RelayError.from(client.stream.errored ?? gone, gone.what))
    client.stream.once('close', onClose)
    try {
      return await dial()
    } finally {
      client.stream.off('close', onClose)
    }
  }

  const mayPass = () => {
    const barred = limits.barrier?.()
    if (barred) cut(barred)
    else meter.lastActiveAt = performance.now()
    return barred === undefined
  }

  const carriage = (far: Channel, failed: (error: RelayError) => void): Carriage => {
    if (!flow) return { left: client, right: far }
    // A pump asks before it hands bytes over; those that a throttle holds back are not the pump's any more.
    return openCarriage(client, far, flow, { cx: { ...cx, signal }, mayPass, tee: { lost: teeLost, failed } })
  }

  const converse = async (failed: (error: RelayError) => void): Promise<Pick<PumpEnd, 'end' | 'error'>> => {
    const barred = limits.barrier?.()
    if (barred) cut(barred)
    if (signal.aborted) return { end: 'revoked', error: signal.reason }
    let far: Opened
    try {
      far = await dialWhileWanted()
    } catch (thrown) {
      const error = RelayError.from(thrown, listed.target)
      if (client.stream.errored) return { end: 'failed', error }
      if (signal.aborted) return { end: 'revoked', error }
      failed(error)
      if (awaited) await awaited.refused(error)
      else client.abort(error)
      return { end: 'failed', error }
    }
    parts.joined?.(far.channel.peer)
    listed.targetIp = far.channel.peer.ip
    listed.way = far.channel.peer.way
    awaited?.granted(far.channel)
    const parted = client.joined?.(far.channel, mayPass)
    const { left, right, tees } = carriage(far.channel, failed)
    const limited = patience(client, limits)
    const end = await pump(left, right, limited, signal, meter, flow?.unidirectional)
    await parted?.()
    await right[Symbol.asyncDispose]()
    await left[Symbol.asyncDispose]()
    far.over()
    if (tees && signal.aborted) await tees.finish()
    else if (tees) finishing(tees)
    // Who has ended well may still have failed; and who waits in vain for the other side has ended well.
    const isOver = end.end === 'eof' || end.end === 'idle'
    const verdict = isOver ? (far.channel.verdict?.() ?? client.verdict?.()) : undefined
    return verdict ? { end: 'failed', error: verdict } : end
  }

  return {
    listed,
    cut,
    recheck: () => meter.recheck(),
    tap(tap) {
      meter.tap = tap
    },
    async run(failed) {
      const { end, error } = await converse(failed)
      await client[Symbol.asyncDispose]()
      const durationMs = performance.now() - meter.startedAt
      const cause = end === 'revoked' ? (cutCauses[error?.code ?? 'revoked'] ?? end) : end
      return error ? { cause, error, durationMs } : { cause, durationMs }
    },
  }
}

function targetOf({ asked }: Channel, { address }: Target): string {
  return asked ? `TCP:${hostPort(asked.host, asked.port)}` : address
}

/** Bytes that go one way only need only half of the target. */
function usesOfTarget({ oneWay }: Channel, flow: FlowSettings | undefined): OpenContext['uses'] {
  if (flow?.unidirectional === 'forward' || oneWay === 'source') return 'write'
  return flow?.unidirectional === 'backward' || oneWay === 'sink' ? 'read' : undefined
}

/** How a cut is called, by the code of its reason: not every cut is a revocation. */
const cutCauses: Partial<Record<ErrorCode, EndCause>> = {
  closed: 'stopped',
  lapsed: 'lapsed',
  expired: 'expired',
  'out-of-hours': 'out-of-hours',
  denied: 'denied',
}

/** The relay's limits, with what the client's kind has to say where the relay says nothing. */
function patience({ idleMs }: Channel, limits: PumpLimits): PumpLimits {
  if (idleMs === undefined) return limits
  return {
    get idleMs() {
      return limits.idleMs ?? idleMs
    },
    get lifetimeMs() {
      return limits.lifetimeMs
    },
    get halfCloseMs() {
      return limits.halfCloseMs
    },
    barrier: limits.barrier,
  }
}

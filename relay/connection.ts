import type { Channel, Endpoint, OpenContext } from './endpoint.ts'
import { RelayError } from './errors.ts'
import { newMeter, type PumpEnd, type PumpLimits, pump } from './pump.ts'
import type { Scope } from './scope.ts'

/** One live conversation through a relay, as it is listed. */
export interface Connection {
  readonly id: string
  readonly relayId: string
  readonly source: string
  readonly sourceIp?: string
  /** The target that it talks to, or that is being dialled. */
  readonly target: string
  readonly tlsIdentity?: string
  readonly openedAt: Date
  /** How long no byte has moved, by a clock that nobody sets. */
  readonly idleMs: number
  /** From the client to the target. */
  readonly bytesIn: number
  /** From the target to the client. */
  readonly bytesOut: number
}

export type EndCause = 'eof' | 'idle' | 'lifetime' | 'revoked' | 'failed' | 'stopped'

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
  /**
   * Opens a target, carries the bytes, and closes: resolves when all descriptors are gone. `failed` is told when no
   * target could be opened. Never rejects.
   */
  run(failed: (error: RelayError) => void): Promise<ConnectionEnd>
}

export interface ConnectionParts {
  readonly id: string
  readonly relayId: string
  readonly client: Channel
  readonly targets: readonly Endpoint[]
  readonly limits: PumpLimits
  readonly scope: Scope
  readonly cx: Omit<OpenContext, 'signal' | 'admit' | 'turnedAway' | 'retrying'>
}

/** Takes over a client's channel. Nothing of it is read before a target is open. */
export function openConnection({
  client,
  targets,
  limits,
  scope,
  cx,
  ...ids
}: ConnectionParts): LiveConnection {
  const meter = newMeter()
  const { signal } = scope
  let target = targets[0]!
  const listed: Connection = {
    ...ids,
    source: client.peer.text,
    ...(client.peer.ip !== undefined && { sourceIp: client.peer.ip }),
    ...(client.peer.identity !== undefined && { tlsIdentity: client.peer.identity }),
    openedAt: new Date(),
    get target() {
      return target.address.text
    },
    get idleMs() {
      return performance.now() - meter.lastActiveAt
    },
    get bytesIn() {
      return meter.sent
    },
    get bytesOut() {
      return meter.received
    },
  }

  /** In order; the next one when one fails. */
  const dial = async (): Promise<Channel> => {
    const failures: RelayError[] = []
    for (target of targets) {
      try {
        return await target.dialer!.dial({ ...cx, signal })
      } catch (error) {
        if (signal.aborted) throw signal.reason
        failures.push(RelayError.from(error, target.address.text))
      }
    }
    const last = failures.at(-1)!
    if (failures.length === 1) throw last
    const why = failures.map(({ message }) => message).join('; ')
    throw new RelayError(last.code, { what: `none of ${failures.length} targets opened`, why, cause: last })
  }

  const converse = async (failed: (error: RelayError) => void): Promise<Pick<PumpEnd, 'end' | 'error'>> => {
    if (signal.aborted) return { end: 'revoked', error: signal.reason }
    let far: Channel
    try {
      far = await dial()
    } catch (thrown) {
      const error = RelayError.from(thrown, target.address.text)
      if (signal.aborted) return { end: 'revoked', error }
      client.abort(error)
      failed(error)
      return { end: 'failed', error }
    }
    const end = await pump(client, far, limits, signal, meter)
    await far[Symbol.asyncDispose]()
    return end
  }

  return {
    listed,
    cut(reason) {
      scope.abort(reason)
      client.abort(reason)
    },
    recheck: () => meter.recheck(),
    async run(failed) {
      const { end, error } = await converse(failed)
      await client[Symbol.asyncDispose]()
      await scope[Symbol.asyncDispose]()
      const durationMs = performance.now() - meter.startedAt
      const cause = end === 'revoked' && error?.code === 'closed' ? 'stopped' : end
      return error ? { cause, error, durationMs } : { cause, durationMs }
    },
  }
}

import { openEgress } from '#relay/egress.ts'
import type { EgressPolicy, Endpoint, Lookup } from '#relay/endpoint.ts'
import { bindAddress } from '#relay/endpoints/index.ts'
import type { RelayError } from '#relay/errors.ts'
import type { FlowSettings } from '#relay/flow-settings.ts'
import {
  type Connection,
  type EndCause,
  openRelay,
  type RefusalCause,
  type RelayLimits,
  type RelayState,
  type RunningRelay,
  type TargetStatus,
} from '#relay/relay.ts'
import type { Remark } from '#relay/remark.ts'
import type { Sharing } from '#relay/targets/targets.ts'
import { until } from '#test/resources/until.ts'

export interface TestRelay extends AsyncDisposable {
  readonly relay: RunningRelay
  /** The port that it listens on, once it is ready. */
  readonly port: number
  readonly states: readonly RelayState['name'][]
  readonly opened: readonly Connection[]
  readonly closed: readonly {
    connection: Connection
    cause: EndCause
    error?: RelayError
    durationMs: number
  }[]
  readonly refused: readonly { cause: RefusalCause; source: string }[]
  readonly failed: readonly RelayError[]
  readonly remarks: readonly Remark[]
  /** Each change of a target's health, as `up TCP4:127.0.0.1:80`. */
  readonly health: readonly string[]
}

export interface TestRelayParts extends Sharing {
  readonly listen?: string | Endpoint
  readonly targets: readonly (string | Endpoint)[]
  readonly limits?: RelayLimits
  readonly egress?: EgressPolicy
  readonly lookup?: Lookup
  readonly flow?: FlowSettings
  readonly barrier?: () => RelayError | undefined
}

/** A relay with everything that its observer was told. It need not be ready yet. */
export function startRelay(parts: TestRelayParts): TestRelay {
  const { listen, targets, limits = {}, egress, lookup, barrier, ...settings } = parts
  const states: RelayState['name'][] = []
  const opened: Connection[] = []
  const closed: TestRelay['closed'][number][] = []
  const refused: TestRelay['refused'][number][] = []
  const failed: RelayError[] = []
  const remarks: Remark[] = []
  const health: string[] = []
  const bound = (address: string | Endpoint) => (typeof address === 'string' ? bindAddress(address) : address)
  let connections = 0
  const relay = openRelay(
    {
      id: 'relay-1',
      name: 'test',
      listen: bound(listen ?? 'TCP4-LISTEN:0,bind=127.0.0.1,fork'),
      targets: targets.map(bound),
      limits,
      ...settings,
    },
    {
      egress: egress ?? openEgress,
      ...(lookup && { lookup }),
      ...(barrier && { barrier }),
      newConnectionId: () => `connection-${++connections}`,
      observer: {
        state: state => states.push(state.name),
        opened: connection => opened.push(connection),
        closed: (connection, end) => closed.push({ connection, ...end }),
        refused: (cause, source) => refused.push({ cause, source }),
        failed: error => failed.push(error),
        remarked: remark => remarks.push(remark),
        target: (target: TargetStatus, change) => {
          if (change === 'health') health.push(`${target.health} ${target.address}`)
        },
      },
    },
  )
  return {
    relay,
    get port() {
      if (relay.state.name !== 'ready') throw new Error(`the relay is ${relay.state.name}`)
      return Number(relay.state.local[0]?.split(':').at(-1))
    },
    states,
    opened,
    closed,
    refused,
    failed,
    remarks,
    health,
    [Symbol.asyncDispose]: () => relay[Symbol.asyncDispose](),
  }
}

/** The same, once it listens. */
export async function openTestRelay(parts: TestRelayParts): Promise<TestRelay> {
  const started = startRelay(parts)
  await until('the relay is ready', () => started.relay.state.name === 'ready')
  return started
}

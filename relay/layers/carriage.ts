import type { Channel, OpenContext } from '../endpoint.ts'
import type { FlowSettings } from '../flow-settings.ts'
import { openTees, type TeeObserver, type Tees } from './tee.ts'
import { throttle } from './throttle.ts'
import { type Stages, through } from './through.ts'
import { timestamps } from './timestamp.ts'

/** What a pump joins: client and target, and between them what the settings ask for. */
export interface Carriage {
  readonly left: Channel
  readonly right: Channel
  readonly tees?: Tees
}

/**
 * Takes both channels over. `mayPass` is asked before bytes move that a throttle has held back. The target and the tees
 * get the same bytes, those that the pump counts and a dump shows have no timestamps yet.
 */
export function openCarriage(
  client: Channel,
  target: Channel,
  flow: FlowSettings,
  { cx, mayPass, tee: observer }: { cx: OpenContext; mayPass: () => boolean; tee: TeeObserver },
): Carriage {
  const { timestamp, throttleBytesPerSecond: rate, tee = [] } = flow
  const stamped = timestamp && timestamps(client, target)
  const tees = tee.length > 0 ? openTees(tee, client, cx, observer) : undefined
  const pace = ({ framing }: Channel): Stages =>
    rate ? { pace: throttle(rate, framing === 'datagram', mayPass) } : {}
  const write = (chunk: Buffer) => {
    const bytes = stamped ? stamped(chunk) : chunk
    tees?.copy(bytes)
    return bytes
  }
  const isWritten = stamped || tees
  return {
    left: rate ? through(client, pace(client)) : client,
    right: rate || isWritten ? through(target, { ...pace(target), ...(isWritten && { write }) }) : target,
    ...(tees && { tees }),
  }
}

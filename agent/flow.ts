import { resolve } from 'node:path'
import type { Desired } from '#gen/fleetcat/v1/agent.ts'
import { Direction, DumpFormat, type DumpSettings } from '#gen/fleetcat/v1/relay.ts'
import type { Endpoint } from '#relay/endpoint.ts'
import type { FlowSettings } from '#relay/flow-settings.ts'
import { checkFlow } from '#wire/flow.ts'

/** What happens to the bytes on their way; nothing if they go as they come. Throws a RelayError when it makes no sense. */
export function toFlow(desired: Desired, bind: (text: string) => Endpoint): FlowSettings | undefined {
  checkFlow(`relay/${desired.name}`, desired)
  const { unidirectional, timestamp, throttle, tee, dump } = desired
  const flow = {
    ...given('unidirectional', directions[unidirectional]),
    ...given('timestamp', timestamp || undefined),
    ...given('throttleBytesPerSecond', Number(throttle) || undefined),
    ...given('tee', tee.length > 0 ? tee.map(bind) : undefined),
    ...given('dump', dump && toDump(dump)),
  }
  return Object.keys(flow).length > 0 ? flow : undefined
}

const directions = { [Direction.FORWARD]: 'forward', [Direction.BACKWARD]: 'backward' } as Record<
  Direction,
  FlowSettings['unidirectional']
>

const formats = { [DumpFormat.HEX]: 'hex', [DumpFormat.TEXT]: 'text', [DumpFormat.BOTH]: 'both' } as const

function toDump({ format, file, rotateBytes, keep }: DumpSettings): NonNullable<FlowSettings['dump']> {
  const path = file && resolve(file)
  return {
    format: formats[format as keyof typeof formats],
    ...(path && {
      file: {
        path,
        ...given('maxBytes', Number(rotateBytes) || undefined),
        ...given('keep', keep || undefined),
      },
    }),
  }
}

const given = <K extends string, V>(key: K, value: V | undefined) =>
  (value === undefined ? {} : { [key]: value }) as Partial<Record<K, V>>

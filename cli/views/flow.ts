import { Direction, DumpFormat, type DumpSettings, type RelaySpec } from '#gen/fleetcat/v1/relay.ts'
import type { Flow } from '#wire/flow.ts'
import { formatByteRate, formatSize, parseByteRate, parseSize } from '../size.ts'

export const directions = ['forward', 'backward'] as const
export const dumpFormats = ['hex', 'text', 'both'] as const

/** What a relay does with the bytes on their way; only what is set. Sizes are text, as files and options take them. */
export interface FlowItem {
  readonly unidirectional?: (typeof directions)[number]
  readonly timestamp?: boolean
  readonly throttle?: string
  readonly tee?: readonly string[]
  readonly dump?: DumpItem
}

export interface DumpItem {
  readonly format: (typeof dumpFormats)[number]
  readonly file?: string
  readonly rotate?: string
  readonly keep?: number
}

const directionNumbers = { forward: Direction.FORWARD, backward: Direction.BACKWARD }
const formatNumbers = { hex: DumpFormat.HEX, text: DumpFormat.TEXT, both: DumpFormat.BOTH }

export const directionOf = (word: FlowItem['unidirectional']): Direction =>
  word ? directionNumbers[word] : Direction.UNSPECIFIED
export const directionWord = (direction: Direction): FlowItem['unidirectional'] =>
  directions.find(word => directionNumbers[word] === direction)
export const dumpFormatWord = (format: DumpFormat): DumpItem['format'] | undefined =>
  dumpFormats.find(word => formatNumbers[word] === format)

/** A setting that a newer controller knows and we do not is left out, as a field of its would be. */
export function flowItem(spec: RelaySpec | undefined): FlowItem {
  if (!spec) return {}
  const { unidirectional, timestamp, throttle, tee, dump } = spec
  const direction = directionWord(unidirectional)
  const shown = dump && dumpItem(dump)
  return {
    ...(direction && { unidirectional: direction }),
    ...(timestamp && { timestamp }),
    ...(throttle && { throttle: formatByteRate(Number(throttle)) }),
    ...(tee.length > 0 && { tee }),
    ...(shown && { dump: shown }),
  }
}

function dumpItem({ format, file, rotateBytes, keep }: DumpSettings): DumpItem | undefined {
  const word = dumpFormatWord(format)
  if (!word) return undefined
  return {
    format: word,
    ...(file && { file }),
    ...(rotateBytes && { rotate: formatSize(Number(rotateBytes)) }),
    ...(keep && { keep }),
  }
}

/** The same as the wire has it. Throws a RelayError `usage` when a size makes no sense. */
export function toFlow({ unidirectional, timestamp = false, throttle, tee = [], dump }: FlowItem): Flow {
  return {
    unidirectional: directionOf(unidirectional),
    timestamp,
    throttle: throttle === undefined ? 0n : BigInt(parseByteRate(throttle, 'throttle')),
    tee: [...tee],
    dump: dump && {
      format: formatNumbers[dump.format],
      file: dump.file ?? '',
      rotateBytes: dump.rotate === undefined ? 0n : BigInt(parseSize(dump.rotate, 'rotate')),
      keep: dump.keep ?? 0,
    },
  }
}

/** One line a setting, for people. */
export function flowFields({ dump, ...flow }: FlowItem): (readonly [string, string])[] {
  const under = Object.entries(dump ?? {}).map(([name, value]) => [`dump.${name}`, value] as const)
  return [...Object.entries(flow), ...under].map(([name, value]) => [
    name,
    Array.isArray(value) ? value.join(', ') : String(value),
  ])
}

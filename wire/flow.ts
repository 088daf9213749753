import { Direction, DumpFormat, type RelaySpec } from '#gen/fleetcat/v1/relay.ts'
import { RelayError } from '#relay/errors.ts'

/** What a relay does with the bytes on their way. */
export type Flow = Pick<RelaySpec, 'unidirectional' | 'timestamp' | 'throttle' | 'tee' | 'dump'>

/** Something wrong, and the keys of the setting that it is wrong with. */
export interface FlowMistake {
  readonly path: readonly string[]
  readonly why: string
  readonly fix: string
}

const mostTees = 16
const smallestFile = 4_096n
const mostFiles = 1_000

/** What makes no sense in these settings, by themselves or beside each other. Addresses are the table's to judge. */
export function flowMistakes({ unidirectional, timestamp, throttle, tee, dump }: Flow): FlowMistake[] {
  const found: FlowMistake[] = []
  const wrong = (when: boolean, key: string, why: string, fix: string) => {
    if (when) found.push({ path: key.split('.'), why, fix })
  }
  const known = (values: Record<string, number>, value: number) => Object.values(values).includes(value)
  const backward = unidirectional === Direction.BACKWARD
  const { format = 0, file = '', rotateBytes = 0n, keep = 0 } = dump ?? {}

  wrong(
    !known(Direction, unidirectional),
    'unidirectional',
    'there is no such direction',
    'Write forward or backward',
  )
  wrong(
    backward && timestamp,
    'timestamp',
    'it marks what goes forward, and nothing does: the relay is unidirectional, backward',
    'Leave one of the two out',
  )
  wrong(
    backward && tee.length > 0,
    'tee',
    'it copies what goes forward, and nothing does: the relay is unidirectional, backward',
    'Leave one of the two out',
  )
  wrong(tee.length > mostTees, 'tee', `${tee.length} copies are more than ${mostTees}`, 'Name fewer')
  wrong(throttle > Number.MAX_SAFE_INTEGER, 'throttle', 'no host is so fast', 'Leave it out')
  wrong(
    dump !== undefined && (format === 0 || !known(DumpFormat, format)),
    'dump.format',
    'a dump is hex, text or both',
    'Say one of them',
  )
  wrong(
    file !== '' && (!file.startsWith('/') || file.includes('\0')),
    'dump.file',
    `\`${file}\` is no absolute path`,
    'The file is written on the host of the agent: begin with /',
  )
  wrong(file === '' && rotateBytes > 0n, 'dump.rotate', 'there is no file to rotate', 'Name one')
  wrong(file === '' && keep > 0, 'dump.keep', 'there is no file of which old ones could be kept', 'Name one')
  wrong(
    rotateBytes > 0n && rotateBytes < smallestFile,
    'dump.rotate',
    `${rotateBytes} bytes are too few for a file`,
    'Write at least 4KiB',
  )
  wrong(keep > mostFiles, 'dump.keep', `${keep} files are more than ${mostFiles}`, 'Keep fewer')
  return found
}

/** Throws a RelayError `usage` at the first mistake. `what` is the relay. */
export function checkFlow(what: string, flow: Flow): void {
  const [mistake] = flowMistakes(flow)
  if (!mistake) return
  const { path, why, fix } = mistake
  throw new RelayError('usage', { what: `${path.join('-')} of ${what}`, why, fix })
}

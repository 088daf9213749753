import type { EgressPolicy } from '../endpoint.ts'
import type { RelayError } from '../errors.ts'
import { inPlace } from '../files/place.ts'
import { dumpScope } from '../layers/dump-file.ts'
import { openRotatingFile } from '../layers/rotating-file.ts'
import { timestamps } from '../layers/timestamp.ts'
import { notice } from './notice.ts'

export interface LogSettings {
  readonly path: string
  /** A file that would grow beyond this is renamed, and a new one begun. */
  readonly maxBytes?: number | undefined
  /** How many are kept beside the newest. */
  readonly keep?: number | undefined
}

/** What a port has said, in a file, each line with its time; nobody waits for it. */
export interface LineLog extends AsyncDisposable {
  add(bytes: Buffer): void
  /** On a line of its own. */
  note(text: string): void
}

const defaultMaxBytes = 16 * 1_048_576
export const defaultKeep = 5
const stream = { framing: 'stream' } as const
const newline = 0x0a

/** Rejects with a RelayError when the file cannot be opened. `failed` is told of what goes wrong later. */
export async function openLineLog(
  { path, maxBytes = defaultMaxBytes, keep = defaultKeep }: LogSettings,
  egress: EgressPolicy,
  failed: (error: RelayError) => void,
): Promise<LineLog> {
  const scope = dumpScope(path)
  const place = async <T>(act: (name: string) => Promise<T>): Promise<T> => {
    egress.check(scope)
    for (let n = 1; n <= keep; n++) egress.checkForbidden?.(dumpScope(`${path}.${n}`))
    return inPlace(scope, { egress }, ({ name }) => act(name))
  }
  const file = await openRotatingFile({ path, called: 'log', maxBytes, keep, inPlace: place, failed })
  const stamped = timestamps(stream, stream)
  let lost = 0
  let atStart = true
  const append = (bytes: Buffer) => {
    if (!file.hasRoom(bytes.length * 2)) {
      lost += bytes.length
      return
    }
    const missing =
      lost > 0 ? Buffer.from(`${atStart ? '' : '\n'}${notice(`${lost} bytes lost`)}\n`) : undefined
    lost = 0
    const whole = missing ? Buffer.concat([missing, bytes]) : bytes
    atStart = bytes.at(-1) === newline
    file.append(stamped(whole), () => {
      lost += bytes.length
    })
  }
  return {
    add: append,
    note: text => append(Buffer.from(`${atStart ? '' : '\n'}${notice(text)}\n`)),
    [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
  }
}

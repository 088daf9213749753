import { type Address, formatAddress } from '../address.ts'
import type { EgressPolicy } from '../endpoint.ts'
import type { RelayError } from '../errors.ts'
import { inPlace } from '../files/place.ts'
import type { DumpFile, DumpFormat } from '../flow-settings.ts'
import { formatDump } from './dump-format.ts'
import { openRotatingFile } from './rotating-file.ts'
import type { Sink } from './taps.ts'

const defaultMaxBytes = 64 * 1_048_576
const defaultKeep = 5

/** The file of a dump as the ceiling sees it. A permit for it is one for those that it is renamed to. */
export function dumpScope(path: string): Address {
  const options = ['append', 'creat', 'wronly'].map(name => ({ name, at: 0 }))
  const scope = { keyword: 'OPEN', args: [path], options }
  return { ...scope, text: formatAddress(scope) }
}

export interface DumpContext {
  readonly egress: EgressPolicy
  /** A piece could not be written, or not in time. */
  readonly lost: (source: string) => void
  readonly failed: (error: RelayError) => void
}

/** Writes what it sees into a file, and waits for nothing. Rejects with a RelayError when the file cannot be opened. */
export async function openDump(
  format: DumpFormat,
  { path, maxBytes = defaultMaxBytes, keep = defaultKeep }: DumpFile,
  { egress, lost, failed }: DumpContext,
): Promise<{ readonly sink: Sink } & AsyncDisposable> {
  const scope = dumpScope(path)
  let pieces = 0
  let bytesLost = 0

  const place = async <T>(act: (name: string) => Promise<T>): Promise<T> => {
    egress.check(scope)
    for (let n = 1; n <= keep; n++) egress.checkForbidden?.(dumpScope(`${path}.${n}`))
    return inPlace(scope, { egress }, ({ name }) => act(name))
  }

  const lose = (source: string, length: number) => {
    pieces++
    bytesLost += length
    lost(source)
  }

  const file = await openRotatingFile({ path, called: 'dump file', maxBytes, keep, inPlace: place, failed })

  return {
    sink({ id, source }, direction, bytes, from) {
      // Formatting is dear, so that what would be lost is not formatted.
      if (!file.hasRoom(bytes.length * mostForAByte)) return lose(source, bytes.length)
      const at = performance.timeOrigin + performance.now()
      const block = formatDump(format, { direction, at, from, bytes, connectionId: id })
      const missing = pieces > 0 ? `# ${pieces} pieces of ${bytesLost} bytes are missing here\n` : ''
      const { length } = bytes
      file.append(Buffer.concat([Buffer.from(missing), block]), () => lose(source, length))
      pieces = 0
      bytesLost = 0
    },
    [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
  }
}

/** A byte in hex and in its column, and its share of a row. */
const mostForAByte = 5

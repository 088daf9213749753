import { closeSync, openSync, writeSync } from 'node:fs'
import { RelayError } from '#relay/errors.ts'
import type { Direction } from '#relay/flow-settings.ts'
import { formatDump } from '#relay/layers/dump-format.ts'
import type { Sink } from '#relay/layers/taps.ts'
import type { SocatSettings } from './settings.ts'

type Shown = (direction: Direction, bytes: Buffer, from: number) => void

/**
 * What `-v`, `-x`, `-r` and `-R` show of the traffic; undefined without any of them. Nothing is lost: who asks for a
 * dump waits for it. With `turned` the relay runs from the second address to the first. Throws when a file cannot be made.
 */
export function openDump(
  settings: SocatSettings,
  turned: boolean,
): ({ sink: Sink } & Disposable) | undefined {
  const stack = new DisposableStack()
  const shown = [
    onStderr(settings),
    raw(settings.rawForward, 'forward'),
    raw(settings.rawBackward, 'backward'),
  ]
  const all = shown.filter(one => one !== undefined)
  if (all.length === 0) return undefined
  return {
    sink(_connection, direction, bytes, from) {
      const seen = turned ? opposite[direction] : direction
      for (const show of all) show(seen, bytes, from)
    },
    [Symbol.dispose]: () => stack.dispose(),
  }

  function raw(path: string | undefined, which: Direction): Shown | undefined {
    if (path === undefined) return undefined
    const fd = opened(path)
    stack.defer(() => closeSync(fd))
    return (direction, bytes) => {
      if (direction === which) for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at)
    }
  }
}

const opposite = { forward: 'backward', backward: 'forward' } as const

function onStderr({ dumpText, dumpHex }: SocatSettings): Shown | undefined {
  if (!dumpText && !dumpHex) return undefined
  const format = dumpText && dumpHex ? 'both' : dumpHex ? 'hex' : 'text'
  return (direction, bytes, from) => {
    const at = performance.timeOrigin + performance.now()
    process.stderr.write(formatDump(format, { direction, at, from, bytes }))
  }
}

function opened(path: string): number {
  try {
    return openSync(path, 'a', 0o664)
  } catch (error) {
    throw RelayError.from(error, `dump file ${path}`)
  }
}

import { setTimeout as pause } from 'node:timers/promises'
import type { Fleet } from '../client.ts'
import { note } from '../failure.ts'
import { openAttached } from './attached.ts'
import type { Place } from './place.ts'

export interface LogOptions {
  readonly follow: boolean
  /** Only lines that match. */
  readonly grep?: RegExp | undefined
  /** How much of what came before: `64k`. */
  readonly last: string
  /** Resolves with the exit code when somebody wants it to end. */
  readonly stopped: Promise<number>
}

/** What was kept comes in one piece; this long after it there is no more of it. */
const restMs = 300

/** Prints what a port has said lately, and with `follow` what it says from now on. Answers the exit code. */
export async function showLog(fleet: Fleet, place: Place, options: LogOptions): Promise<number> {
  const { follow, grep, last, stopped } = options
  const { stdout } = process
  let heardAt = performance.now()
  let partial = ''
  const print = async (text: string) => {
    if (text !== '' && !stdout.write(text, 'latin1'))
      await new Promise<void>(resolve => stdout.once('drain', () => resolve()))
  }
  const matching = (bytes: Buffer): string => {
    const text = partial + bytes.toString('latin1')
    const end = text.lastIndexOf('\n') + 1
    partial = text.slice(end)
    const lines = text.slice(0, end).match(/[^\n]*\n/g) ?? []
    return lines.filter(line => matches(line, grep!)).join('')
  }
  await using attached = await openAttached(fleet, place, {
    purpose: 'log',
    wish: 'watch',
    replay: last,
    told: follow ? note : () => {},
    async received(bytes) {
      heardAt = performance.now()
      await print(grep ? matching(bytes) : bytes.toString('latin1'))
    },
  })
  if (follow) return await Promise.race([stopped, attached.over])
  const quiet = (async () => {
    while (performance.now() - heardAt < restMs) await pause(restMs / 10)
    if (grep && matches(partial, grep)) await print(`${partial}\n`)
    return 0
  })()
  return await Promise.race([stopped, quiet, attached.over])
}

/** Devices say what they say in any encoding; a pattern is for text. */
function matches(line: string, pattern: RegExp): boolean {
  pattern.lastIndex = 0
  return pattern.test(Buffer.from(line.trimEnd(), 'latin1').toString('utf8'))
}

import { boundedSearch } from './bounded-search.ts'

/** Neither may throw. */
export interface Alert {
  readonly pattern: RegExp
  /** Called with each line that the pattern is in, without its end. */
  readonly raised: (line: string) => void
  /** The pattern has taken too long again and again: it is not looked for any more. */
  readonly gaveUp: () => void
}

/** A line without an end, as of a device that sends no text, is looked at when it is so long. */
const longestLine = 4_096
/** A search may be slow because the host is. */
const mostSlow = 3

/** Looks at the lines of a stream as they are completed. */
export function watchLines({ pattern, raised, gaveUp }: Alert): (bytes: Buffer) => void {
  let partial = ''
  let slow = 0
  const look = (lines: readonly string[]) => {
    if (lines.length === 0) return
    const found = boundedSearch(pattern, lines)
    for (const line of found ?? []) raised(line)
    if (!found && ++slow === mostSlow) gaveUp()
  }
  return bytes => {
    if (slow >= mostSlow) return
    const lines = (partial + bytes.toString('latin1')).split(/[\r\n]+/)
    partial = lines.pop()!
    if (partial.length >= longestLine) {
      lines.push(partial)
      partial = ''
    }
    look(lines.filter(line => line !== '').map(asText))
  }
}

/** Devices say what they say in any encoding; a pattern is for text. */
const asText = (line: string) => Buffer.from(line, 'latin1').toString('utf8')

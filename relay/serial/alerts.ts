/** Called with each line that the pattern is in, without its end. Must not throw. */
export interface Alert {
  readonly pattern: RegExp
  readonly raised: (line: string) => void
}

/** A line without an end, as of a device that sends no text, is looked at when it is so long. */
const longestLine = 4_096

/** Looks at the lines of a stream as they are completed. */
export function watchLines({ pattern, raised }: Alert): (bytes: Buffer) => void {
  let partial = ''
  const look = (line: string) => {
    pattern.lastIndex = 0
    if (pattern.test(line)) raised(line)
  }
  return bytes => {
    const lines = (partial + bytes.toString('latin1')).split(/[\r\n]+/)
    partial = lines.pop()!
    for (const line of lines) if (line !== '') look(line)
    if (partial.length < longestLine) return
    look(partial)
    partial = ''
  }
}

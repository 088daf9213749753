const time = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) /

/** A line without an end, as of a device that sends no text, is one when it is so long. */
const longestLine = 65_536

/** Cuts bytes into lines, each with its end; what is behind the last end waits for the rest of it. */
export function openLines(): { complete(bytes: Buffer): readonly string[]; rest(): string } {
  let partial = ''
  return {
    complete(bytes) {
      const text = partial + bytes.toString('latin1')
      const end = text.lastIndexOf('\n') + 1
      partial = text.slice(end)
      const lines = text.slice(0, end).match(/[^\n]*\n/g) ?? []
      if (partial.length < longestLine) return lines
      const long = partial
      partial = ''
      return [...lines, long]
    },
    rest: () => partial,
  }
}

/** The time in front of a line of a log. */
export const timeOf = (line: string): string | undefined => time.exec(line)?.[1]

/** Devices say what they say in any encoding; a pattern is for text, and not for the time in front of it. */
export function matches(line: string, pattern: RegExp): boolean {
  pattern.lastIndex = 0
  return pattern.test(Buffer.from(line.replace(time, '').trimEnd(), 'latin1').toString('utf8'))
}

/** Resolves when standard output has room for more. */
export async function print(text: string): Promise<void> {
  const { stdout } = process
  if (text === '' || stdout.write(text, 'latin1')) return
  await new Promise<void>(resolve => stdout.once('drain', () => resolve()))
}

import type { Readable } from 'node:stream'

/** What one line may hold, and how many are told of one program: a log is no place for a program's output. */
const longestLine = 2_048
const mostLines = 1_000

/** Tells of each line; what is longer or more is dropped, and said to be. */
export function eachLine(stream: Readable, told: (line: string) => void): void {
  let rest = ''
  let lines = 0
  const tell = (line: string) => {
    lines++
    if (lines < mostLines) told(line.length > longestLine ? `${line.slice(0, longestLine)}…` : line)
    else if (lines === mostLines) told(`${mostLines - 1} lines were told; what follows is dropped`)
  }
  stream
    .setEncoding('utf8')
    .on('data', (text: string) => {
      const whole = (rest + text).split(/\r?\n/)
      rest = whole.pop()!.slice(0, longestLine + 1)
      for (const line of whole) if (line !== '') tell(line)
    })
    .on('end', () => {
      if (rest !== '') tell(rest)
    })
    .on('error', () => {})
}

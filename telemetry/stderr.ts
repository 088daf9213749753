import { write, writeSync } from 'node:fs'
import type { DestinationStream } from 'pino'

/** What waits to be written, at most; beyond it lines are dropped. */
const mostBytes = 8 * 1024 * 1024

/**
 * Standard error as a place for log lines, for a process that must outlive its log: a reader that stalls must not stall
 * the relays, and a full disk under the log must not end them. pino's own destination does one or the other, and on a
 * full disk it never comes to an end at exit.
 */
export function openStderr(fd = 2): DestinationStream {
  let waiting: string[] = []
  let bytes = 0
  let dropped = 0
  let writing = false

  function next(): void {
    if (writing || waiting.length === 0) return
    writing = true
    push(Buffer.from(take()), 0)
  }

  function push(buffer: Buffer, from: number): void {
    write(fd, buffer, from, (error, written) => {
      if (!error && from + written < buffer.length) return push(buffer, from + written)
      if (error?.code === 'EAGAIN') return void setTimeout(push, 20, buffer, from).unref()
      // Whatever else is wrong with it, the lines are lost, and the next ones may fare better.
      if (error) dropped += buffer.toString().split('\n').length - 1
      writing = false
      next()
    })
  }

  function take(): string {
    const lost =
      dropped > 0 ? `${JSON.stringify({ level: 'warn', event: 'log.lost', lines: dropped })}\n` : ''
    const text = lost + waiting.join('')
    waiting = []
    bytes = 0
    dropped = 0
    return text
  }

  process.on('exit', () => {
    if (waiting.length === 0) return
    try {
      writeSync(fd, take())
    } catch {
      // there is nobody left to tell
    }
  })

  return {
    write(line) {
      if (bytes + line.length > mostBytes) {
        dropped++
        return
      }
      waiting.push(line)
      bytes += line.length
      next()
    },
  }
}

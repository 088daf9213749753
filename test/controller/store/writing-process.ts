import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

const program = fileURLToPath(new URL('./writer.ts', import.meta.url))

export interface WritingProcess extends AsyncDisposable {
  readonly pid: number
  /** What it said: `open`, then the name of each transaction that was answered. Grows. */
  readonly said: readonly string[]
  /** Until it said so many lines. */
  lines(count: number): Promise<void>
  /** SIGKILL, and all that it had said until then. */
  kill(): Promise<readonly string[]>
}

/** A real process that writes to the store in `directory` until it is killed; `name` is the start of its names. */
export function writingProcess(directory: string, name: string): WritingProcess {
  const child: ChildProcess = spawn(process.execPath, [program, directory, name], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let over = false
  const gone = once(child, 'close').then(() => {
    over = true
  })
  const said: string[] = []
  let complaint = ''
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    complaint += text
  })
  let rest = ''
  child.stdout!.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop()!
    said.push(...lines)
    child.emit('lines')
  })
  async function kill() {
    child.kill('SIGKILL')
    await gone
    return said
  }
  return {
    pid: child.pid!,
    said,
    async lines(count) {
      while (said.length < count) {
        if (over) throw new Error(`the writer ended by itself: ${complaint}`)
        await Promise.race([once(child, 'lines'), gone])
      }
    },
    kill,
    [Symbol.asyncDispose]: async () => void (await kill()),
  }
}

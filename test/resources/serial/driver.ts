import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { PortOptions } from '#relay/serial/open-port.ts'
import type { LineCounters, LineSettings, ModemLines } from '#relay/serial/port.ts'

/** A port that another process has open, one that sees fake lines: see `lines.ts`. */
export interface DrivenPort extends AsyncDisposable {
  readonly pid: number
  readonly opened: Required<LineSettings>
  /** The error in which its stream has ended, once it has. */
  readonly failed: Promise<{ readonly code?: string; readonly message: string }>
  call(name: 'settings'): Promise<Required<LineSettings>>
  call(name: 'set', settings: LineSettings): Promise<Required<LineSettings>>
  call(name: 'setControl', lines: { dtr?: boolean; rts?: boolean }): Promise<boolean>
  call(name: 'modem'): Promise<ModemLines | null>
  call(name: 'changes'): Promise<[ModemLines, ModemLines][]>
  call(name: 'setBreak', on: boolean): Promise<boolean>
  call(name: 'sendBreak', ms: number): Promise<boolean>
  call(name: 'purge', which: 'rx' | 'tx' | 'both'): Promise<void>
  call(name: 'counters'): Promise<LineCounters | null>
  call(name: 'write', text: string): Promise<void>
  call(name: 'received'): Promise<string>
  call(name: 'pause' | 'resume' | 'watch' | 'unwatch' | 'close'): Promise<void>
  /** As SIGKILL does: nothing is given back. */
  kill(): Promise<void>
}

/** Rejects with what the port's opening was refused for. */
export async function openDriven(
  path: string,
  options: Partial<Omit<PortOptions, 'terminal'>> = {},
  env: Record<string, string> = {},
  /** Whose process it is; ours if absent. */
  account: { readonly uid?: number; readonly gid?: number } = {},
): Promise<DrivenPort> {
  const main = join(import.meta.dirname, 'driver-main.ts')
  const child = spawn(
    process.execPath,
    [main, path, JSON.stringify({ holder: 'a test', lockDirectory: '/nowhere', ...options })],
    {
      env: { ...process.env, ...env },
      stdio: ['pipe', 'pipe', 'inherit'],
      ...account,
    },
  )
  const exited = once(child, 'exit')
  const waiting = new Map<number, (message: { value?: unknown; error?: { message: string } }) => void>()
  const opening = Promise.withResolvers<Required<LineSettings>>()
  const failing = Promise.withResolvers<{ message: string }>()
  createInterface({ input: child.stdout! }).on('line', line => {
    const message = JSON.parse(line)
    if (message.open) opening.resolve(message.open)
    else if (message.refused)
      opening.reject(Object.assign(new Error(message.refused.message), message.refused))
    else if (message.failed) failing.resolve(message.failed)
    else waiting.get(message.id)?.(message)
  })
  const kill = async () => {
    child.kill('SIGKILL')
    await exited
  }
  let id = 0
  try {
    const opened = await opening.promise
    return {
      pid: child.pid!,
      opened,
      failed: failing.promise,
      kill,
      async call(name: string, ...args: unknown[]) {
        id++
        const answer = Promise.withResolvers<{ value?: unknown; error?: { message: string } }>()
        waiting.set(id, answer.resolve)
        child.stdin!.write(`${JSON.stringify({ id, name, args })}\n`)
        const { value, error } = await answer.promise
        if (error) throw Object.assign(new Error(error.message), error)
        return value as never
      },
      [Symbol.asyncDispose]: kill,
    }
  } catch (error) {
    await kill()
    throw error
  }
}

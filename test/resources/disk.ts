import { execFileSync } from 'node:child_process'

/**
 * Until disposal no file that this process writes, or the one of `pid`, may grow: how writes are made to fail without a
 * broken disk.
 */
export function stuckDisk(pid = process.pid): Disposable {
  const limit = (bytes: string) => execFileSync('prlimit', ['--pid', `${pid}`, `--fsize=${bytes}:unlimited`])
  limit('4096')
  return { [Symbol.dispose]: () => void limit('unlimited') }
}

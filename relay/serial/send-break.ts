import { setTimeout as sleep } from 'node:timers/promises'
import { RelayError } from '../errors.ts'
import type { SerialPort } from './port.ts'

/** What the kernel's own break lasts, and what every device that waits for one takes for one. */
export const usualBreakMs = 250
const longestBreakMs = 10_000

/**
 * A break of so many milliseconds, which ends in any case, also when `signal` is aborted. False: the device cannot send
 * one. Throws a RelayError `usage` for a length that nobody means.
 */
export async function sendBreak(
  port: Pick<SerialPort, 'path' | 'setBreak'>,
  { ms = usualBreakMs, signal }: { readonly ms?: number; readonly signal?: AbortSignal } = {},
): Promise<boolean> {
  if (!(ms > 0 && ms <= longestBreakMs)) {
    const why = `a break cannot last \`${ms}\` ms`
    throw new RelayError('usage', { what: port.path, why, fix: `Write 1 to ${longestBreakMs}` })
  }
  if (!(await port.setBreak(true))) return false
  await sleep(ms, undefined, { signal }).catch(() => {})
  return port.setBreak(false)
}

import { exitCodes } from './exit-codes.ts'

/** What Ctrl-C does to a command that has nothing to wind up. */
export function interrupted(): void {
  process.exit(exitCodes.interrupted)
}

/** The exit code of a service that was asked to stop: SIGTERM is how it is meant to end, Ctrl-C an interruption. */
const codeOf = { SIGTERM: exitCodes.ok, SIGINT: exitCodes.interrupted } as const

export interface StopRequest extends Disposable {
  /** Resolves with the exit code once this process was asked to stop; asked again, it stops at once. */
  readonly asked: Promise<number>
}

export function stopRequests(): StopRequest {
  const { promise, resolve } = Promise.withResolvers<number>()
  let before = false
  const stop = (signal: NodeJS.Signals) => {
    if (before) process.exit(exitCodes.interrupted)
    before = true
    resolve(codeOf[signal as keyof typeof codeOf])
  }
  process.off('SIGINT', interrupted)
  process.on('SIGINT', stop).on('SIGTERM', stop)
  return {
    asked: promise,
    [Symbol.dispose]() {
      process.off('SIGINT', stop).off('SIGTERM', stop)
    },
  }
}

import { type ChildLoggerOptions, type DestinationStream, type Logger, pino } from 'pino'
import { clean, printable, words } from './clean.ts'
import { openStderr } from './stderr.ts'

export type { Logger } from 'pino'

export const logLevels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const
export type LogLevel = (typeof logLevels)[number]

/** JSON lines on stderr, one event a line; readable lines on a terminal. */
export async function openLog(name: string, level: LogLevel): Promise<Logger> {
  return logTo(await destination(), name, level)
}

/**
 * Every string of a line is sanitised here, once, so that no caller can forget a field that a peer controls; and
 * secrets never reach a line, even when somebody logs the object that holds them.
 */
export function logTo(stream: DestinationStream, name: string, level: LogLevel): Logger {
  const log = pino(
    {
      level,
      base: { program: name },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: label => ({ level: label }), log: clean },
      hooks: {
        logMethod(args, method) {
          const [first, ...rest] = args as unknown[]
          // Of a bare error pino would take the message as it is.
          const whole =
            first instanceof Error && rest.length === 0 ? [first, words(first.message)] : [first, ...rest]
          // The first object becomes fields, and is cleaned as such; the others are printed into the message.
          const safe = whole.map((a, i) => (i === 0 && typeof a === 'object' ? a : printable(a)))
          method.apply(this, safe as typeof args)
        },
      },
    },
    stream,
  )
  // What a child is bound to goes through no formatter of pino's.
  const child: ChildOf = log.child
  const cleanChild: ChildOf = function (bindings, options) {
    return child.call(this, clean(bindings), options)
  }
  return Object.assign(log, { child: cleanChild })
}

type ChildOf = (this: Logger, bindings: Record<string, unknown>, options?: ChildLoggerOptions) => Logger

async function destination(): Promise<DestinationStream> {
  if (!process.stderr.isTTY) return openStderr()
  const { default: pretty } = await import('pino-pretty')
  return pretty({
    destination: 2,
    sync: true,
    colorize: process.env.NO_COLOR === undefined,
    ignore: 'pid,hostname,program',
    translateTime: 'SYS:HH:MM:ss.l',
    singleLine: true,
  })
}

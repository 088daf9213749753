import { type DestinationStream, type Logger, pino } from 'pino'
import { sanitise } from './sanitise.ts'

export type { Logger } from 'pino'

export const logLevels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const
export type LogLevel = (typeof logLevels)[number]

/**
 * JSON lines on stderr, one event a line; readable lines on a terminal. Every string of a line is sanitised here, once,
 * so that no caller can forget a field that a peer controls.
 */
export async function openLog(name: string, level: LogLevel): Promise<Logger> {
  return pino(
    {
      level,
      base: { program: name },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: label => ({ level: label }), log: clean },
      hooks: {
        logMethod(args, method) {
          method.apply(this, args.map(a => (typeof a === 'string' ? sanitise(a, 4_096) : a)) as typeof args)
        },
      },
      // Secrets never reach a line, even when somebody logs the object that holds them.
      redact: {
        paths: ['secret', 'token', 'key', '*.secret', '*.token', '*.key', '*.keyPem'],
        censor: '[hidden]',
      },
    },
    await destination(),
  )
}

async function destination(): Promise<DestinationStream> {
  if (!process.stderr.isTTY) return pino.destination({ dest: 2, sync: true })
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

function clean(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, cleanValue(value, 0)]))
}

function cleanValue(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return sanitise(value)
  if (typeof value === 'bigint') return value.toString()
  if (value instanceof Error) return cleanError(value)
  if (typeof value !== 'object' || value === null || value instanceof Date || depth > 4) return value
  if (Array.isArray(value)) return value.map(item => cleanValue(item, depth + 1))
  return Object.fromEntries(
    Object.entries(value).map(([k, v]) => [sanitise(k, 64), cleanValue(v, depth + 1)]),
  )
}

function cleanError(error: Error): Record<string, unknown> {
  const code = 'code' in error ? { code: error.code } : {}
  return { type: error.name, ...code, message: sanitise(error.message, 4_096) }
}

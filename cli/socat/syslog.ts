import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Sink } from './messages.ts'
import type { Level } from './settings.ts'

/** By the numbers of RFC 5424. */
const facilities: Readonly<Record<string, number>> = Object.assign(Object.create(null), {
  user: 1,
  mail: 2,
  daemon: 3,
  auth: 4,
  security: 4,
  syslog: 5,
  lpr: 6,
  news: 7,
  uucp: 8,
  cron: 9,
  authpriv: 10,
  ftp: 11,
  local0: 16,
  local1: 17,
  local2: 18,
  local3: 19,
  local4: 20,
  local5: 21,
  local6: 22,
  local7: 23,
})

const severities: Record<Level, number> = { F: 2, E: 3, W: 4, N: 5, I: 6, D: 7 }

/** The system's log has a socket of a kind that Node cannot open, so `logger` of util-linux passes the lines on. */
export function openSyslog(tag: string, facility: string): Sink {
  const code = facilities[facility.toLowerCase()] ?? facilities.daemon!
  const words = ['--prio-prefix', `--id=${process.pid}`, '--tag', tag]
  const logger = spawn('logger', words, { stdio: ['pipe', 'ignore', 'inherit'] })
  const closed = once(logger, 'close').catch(error => {
    process.stderr.write(`${tag}: no messages reach the system's log: ${(error as Error).message}\n`)
  })
  logger.stdin.on('error', () => {})
  return {
    line: (level, text) => void logger.stdin.write(`<${code * 8 + severities[level]}>${text}\n`),
    async [Symbol.asyncDispose]() {
      logger.stdin.end()
      await closed
    },
  }
}

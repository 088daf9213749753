import { closeSync, openSync, writeSync } from 'node:fs'
import { hostname } from 'node:os'
import { RelayError } from '#relay/errors.ts'
import { sanitise } from '#telemetry/sanitise.ts'
import { type Level, levels, type SocatSettings } from './settings.ts'
import { openSyslog } from './syslog.ts'

/** What socat says while it runs: `2026/11/20 13:00:00 socat[1234] N listening on AF=2 0.0.0.0:8080`. */
export interface Messages extends AsyncDisposable {
  say(level: Level, text: string): void
  /** All is open: mixed logs move to the system's log. */
  started(): void
}

/** Where messages go. `head` says when and who; the system's log knows that by itself. */
export interface Sink extends AsyncDisposable {
  line(level: Level, text: string, head: string): void
}

/** Throws a RelayError when the log cannot be opened. */
export function openMessages(settings: SocatSettings): Messages {
  const { log, programName } = settings
  const most = levels.indexOf(settings.level)
  let sink =
    log.to === 'file' ? file(log.path) : log.to === 'syslog' ? openSyslog(programName, log.facility) : stderr

  return {
    say(level, text) {
      if (levels.indexOf(level) > most) return
      const at = settings.hostname ? `${time(settings.microseconds)} ${host()}` : time(settings.microseconds)
      sink.line(level, `${level} ${sanitise(text, 4_096)}`, `${at} ${programName}[${process.pid}]`)
    },
    started() {
      if (log.to === 'mixed' && sink === stderr) sink = openSyslog(programName, log.facility)
    },
    [Symbol.asyncDispose]: () => Promise.resolve(sink[Symbol.asyncDispose]()),
  }
}

const stderr: Sink = {
  line: (_level, text, head) => void process.stderr.write(`${head} ${text}\n`),
  async [Symbol.asyncDispose]() {},
}

function file(path: string): Sink {
  let fd: number
  try {
    fd = openSync(path, 'a', 0o664)
  } catch (error) {
    throw RelayError.from(error, `log file ${path}`)
  }
  return {
    line: (_level, text, head) => void writeSync(fd, `${head} ${text}\n`),
    async [Symbol.asyncDispose]() {
      closeSync(fd)
    },
  }
}

/** Local time as socat writes it. */
function time(microseconds: boolean): string {
  const now = performance.timeOrigin + performance.now()
  const at = new Date(now)
  const two = (n: number) => String(n).padStart(2, '0')
  const date = `${at.getFullYear()}/${two(at.getMonth() + 1)}/${two(at.getDate())}`
  const clock = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`
  return microseconds
    ? `${date} ${clock}.${String(Math.floor(now * 1_000) % 1_000_000).padStart(6, '0')}`
    : `${date} ${clock}`
}

/** As socat has it: HOSTNAME, or what the system says. */
const host = () => process.env.HOSTNAME || hostname()

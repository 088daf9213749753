import { readFile } from 'node:fs/promises'
import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { RelayError } from '#relay/errors.ts'
import { hex } from '#telemetry/audit/chain.ts'
import { syslogMessage } from '#telemetry/audit/formats.ts'
import type { Origin } from '#telemetry/audit/origin.ts'
import { decodeRecord } from '#telemetry/audit/record.ts'
import type { Logger } from '#telemetry/log.ts'
import { parseHostPort } from '#wire/host-port.ts'
import type { Commit } from '../commit.ts'
import type { ControllerConfig } from '../config.ts'
import { drained } from '../drained.ts'
import type { AuditRow, AuditRows } from '../store/store.ts'
import type { Tables } from '../tables.ts'

/**
 * Sends every row to a collector, in order and at least once. Syslog has no receipts: a row counts as delivered when the
 * collector's connection has outlived it for a while; what came after the last such row is sent again over the next
 * connection, also after a restart. Nothing is queued in memory: rows are read from the log as the collector takes them.
 */
export interface Sink extends AsyncDisposable {
  /** The number of the last row that counts as delivered. */
  readonly delivered: bigint
}

type Settings = NonNullable<ControllerConfig['audit']['syslog']>

interface Parts {
  readonly settings: Settings
  readonly rows: AuditRows
  readonly commit: Commit
  readonly tables: Tables
  readonly origin: Origin
  readonly log: Logger
}

const connectWithinMs = 10_000
/** A collector that takes nothing for so long, though there is something for it, is given up. */
const stalledMs = 60_000
const confirmEveryMs = 1_000
const longestPauseMs = 30_000

/** Rejects when the settings make no sense; a collector that is not there is looked for until it is. */
export async function openSink({ settings, rows, commit, tables, origin, log }: Parts): Promise<Sink> {
  const { address, protocol, format } = settings
  const about = { collector: `${protocol}://${address}` }
  const connect = await connector(settings)
  const { row } = await tables.cursors.get(about.collector)
  let delivered = row?.value.seq ?? 0n
  let saved = delivered
  let isLost = false
  const stop = new AbortController()

  function frame({ seq, at, bytes, hash }: AuditRow): string {
    const entry = { ...decodeRecord(bytes), seq, at: new Date(at), hash: hex(hash) }
    const message = syslogMessage(entry, origin, format)
    return `${Buffer.byteLength(message)} ${message}`
  }

  async function save(): Promise<void> {
    const seq = delivered
    if (seq === saved) return
    await commit([], [tables.cursors.put(about.collector, { seq })])
    saved = seq
  }

  /** Until the connection is gone. `settled` is called while it lasts: one that only comes and goes is not back. */
  async function deliver(socket: Socket, settled: () => void): Promise<void> {
    const gone = new AbortController()
    let failure: Error | undefined
    let sent = delivered
    let flushed: bigint | undefined
    socket.on('error', error => {
      failure = error
    })
    socket.on('close', () => gone.abort())
    socket.setKeepAlive(true, 30_000).setTimeout(stalledMs, () => {
      if (socket.writableLength > 0) socket.destroy(new Error('it takes nothing'))
    })
    socket.resume()
    const confirm = setInterval(() => {
      settled()
      delivered = flushed ?? delivered
      flushed = socket.writableLength === 0 ? sent : undefined
      save().catch(error => log.debug({ event: 'audit.cursor-not-kept', error }, 'it is sent again later'))
    }, confirmEveryMs)
    const end = () => socket.destroy()
    stop.signal.addEventListener('abort', end)
    if (stop.signal.aborted) end()
    try {
      for await (const row of rows.follow(delivered, gone.signal)) {
        if (sent + 1n < row.seq) warnOfGap(sent + 1n, row.seq - 1n)
        sent = row.seq
        if (!socket.write(frame(row))) await drained(socket, gone.signal)
      }
    } finally {
      clearInterval(confirm)
      stop.signal.removeEventListener('abort', end)
      socket.destroy()
    }
    throw failure ?? new RelayError('closed', { what: about.collector, why: 'the collector hung up' })
  }

  function warnOfGap(from: bigint, to: bigint): void {
    log.error(
      { event: 'audit.sink-gap', ...about, from, to },
      'rows were discarded by retention before the collector had them',
    )
  }

  async function run(): Promise<void> {
    for (let tries = 0; !stop.signal.aborted; tries++) {
      try {
        const socket = await connect(stop.signal)
        await deliver(socket, () => {
          tries = 0
          if (isLost)
            log.info({ event: 'audit.sink-back', ...about }, 'the collector of the audit log is back')
          isLost = false
        })
      } catch (error) {
        if (stop.signal.aborted) return
        if (!isLost)
          log.warn(
            { event: 'audit.sink-lost', ...about, delivered, error },
            'the collector of the audit log is out of reach; what it lacks is sent when it is back',
          )
        isLost = true
      }
      const ms = Math.min(longestPauseMs, 250 * 2 ** tries) * (0.5 + Math.random() / 2)
      await pause(ms, undefined, { signal: stop.signal }).catch(() => {})
    }
  }

  const running = run()
  return {
    get delivered() {
      return delivered
    },
    async [Symbol.asyncDispose]() {
      stop.abort()
      await running
    },
  }
}

/** What connects, with a socket that has shown by whose certificate it speaks where the protocol says so. */
async function connector(settings: Settings): Promise<(signal: AbortSignal) => Promise<Socket>> {
  const { address, protocol, cafile } = settings
  const { host, port } = parseHostPort(address, {
    what: `audit.syslog.address ${address}`,
    fix: 'Write for example logs.example.com:6514',
  })
  const ca = cafile === undefined ? undefined : await readAuthority(cafile)
  const isTls = protocol === 'tls'
  const servername = isIP(host) ? {} : { servername: host }
  return signal =>
    new Promise((resolve, reject) => {
      const socket = isTls
        ? connectTls({ host, port, minVersion: 'TLSv1.2', ...servername, ...(ca && { ca }) })
        : connectTcp({ host, port })
      const late = new RelayError('timed-out', {
        what: address,
        why: `nobody answered in ${connectWithinMs} ms`,
      })
      const timer = setTimeout(() => socket.destroy(late), connectWithinMs)
      const abort = () => socket.destroy(late)
      signal.addEventListener('abort', abort)
      if (signal.aborted) abort()
      const done = () => {
        clearTimeout(timer)
        signal.removeEventListener('abort', abort)
      }
      socket.once('error', error => {
        done()
        reject(error)
      })
      socket.once(isTls ? 'secureConnect' : 'connect', () => {
        done()
        resolve(socket)
      })
    })
}

async function readAuthority(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (thrown) {
    throw RelayError.from(thrown, `audit.syslog.cafile ${file}`)
  }
}

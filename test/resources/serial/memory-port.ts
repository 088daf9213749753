import { memoryPair } from '#relay/endpoints/memory-pair.ts'
import { RelayError } from '#relay/errors.ts'
import { checkLine } from '#relay/serial/line-settings.ts'
import type { LineCounters, LineSettings, ModemLines, SerialPort } from '#relay/serial/port.ts'

/** A serial port that is nothing but memory, and what a test sees and does at the other side of it. */
export interface MemoryPort {
  readonly port: SerialPort
  /** The other end of its cable. */
  readonly far: SerialPort['stream']
  /** All that was asked of it, in words: `baud=9600`, `dtr=1`, `break on`, `purge rx`. */
  readonly asked: readonly string[]
  /** Turns the wires of the other end. */
  wire(lines: Partial<ModemLines>): void
  count(counts: Partial<LineCounters>): void
}

export interface MemoryPortOptions {
  /** No modem lines and no break, as a pseudo-terminal. */
  readonly wireless?: boolean
  /** What it does not keep: it stays as it was. */
  readonly refuses?: (settings: LineSettings) => boolean
  readonly path?: string
}

export function openMemoryPort({
  wireless,
  refuses = () => false,
  path = '/dev/ttyMEM0',
}: MemoryPortOptions = {}): MemoryPort {
  const [near, far] = memoryPair({ text: path }, { text: `${path} far` })
  const asked: string[] = []
  const listeners = new Set<(now: ModemLines, before: ModemLines) => void>()
  let settings: Required<LineSettings> = { baud: 9_600, data: 8, parity: 'none', stop: 1, flow: 'none' }
  let wires: ModemLines = { cts: false, dsr: false, ri: false, dcd: false }
  let control = { dtr: true, rts: true }
  let counts: LineCounters = { frame: 0, overrun: 0, parity: 0, breaks: 0 }
  let closed = false
  const open = () => {
    if (closed) throw new RelayError('closed', { what: path, why: 'the port was closed' })
  }
  const port: SerialPort = {
    stream: near.stream,
    path,
    get settings() {
      return settings
    },
    async set(wanted) {
      open()
      checkLine(wanted, path, settings)
      for (const [name, value] of Object.entries(wanted)) asked.push(`${name}=${value}`)
      if (!refuses(wanted)) settings = { ...settings, ...wanted }
      return settings
    },
    async control() {
      return wireless ? undefined : control
    },
    async setControl(lines) {
      open()
      if (wireless) return false
      control = { ...control, ...lines }
      for (const [name, on] of Object.entries(lines)) asked.push(`${name}=${Number(on)}`)
      return true
    },
    async modem() {
      open()
      return wireless ? undefined : wires
    },
    onModem(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    async setBreak(on) {
      open()
      if (!wireless) asked.push(`break ${on ? 'on' : 'off'}`)
      return !wireless
    },
    async purge(which) {
      open()
      asked.push(`purge ${which}`)
    },
    async counters() {
      return wireless ? undefined : counts
    },
    async [Symbol.asyncDispose]() {
      closed = true
      await near[Symbol.asyncDispose]()
    },
  }
  return {
    port,
    far: far.stream,
    asked,
    wire(lines) {
      const before = wires
      wires = { ...wires, ...lines }
      for (const listener of listeners) listener(wires, before)
    },
    count(more) {
      counts = { ...counts, ...more }
    },
  }
}

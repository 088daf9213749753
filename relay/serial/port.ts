import type { Duplex } from 'node:stream'
import type { Lender } from '../endpoint.ts'

/** How a line is set. Absent: as the device has it. */
export interface LineSettings {
  readonly baud?: number
  readonly data?: 5 | 6 | 7 | 8
  readonly parity?: 'none' | 'even' | 'odd' | 'mark' | 'space'
  readonly stop?: 1 | 1.5 | 2
  readonly flow?: 'none' | 'xonxoff' | 'rtscts'
}

/** What the other end of the line says with its wires. */
export interface ModemLines {
  readonly cts: boolean
  readonly dsr: boolean
  readonly ri: boolean
  readonly dcd: boolean
}

/** What wires say that are not there: a line without them works as if they were always on, and never rings. */
export const absentWires: ModemLines = { cts: true, dsr: true, dcd: true, ri: false }

/** What went wrong on the line since the device is there. */
export interface LineCounters {
  readonly frame: number
  readonly overrun: number
  readonly parity: number
  readonly breaks: number
}

/** One open serial port. Whoever opened it disposes it. */
export interface SerialPort extends AsyncDisposable {
  /** Bytes. A hang-up ends in `error` (a RelayError) and then `close`, never in silence or a spinning core. */
  readonly stream: Duplex
  /** A faster way to read it. Absent where there is none. */
  readonly lender?: Lender
  readonly path: string
  /** What the device really has now. */
  readonly settings: Required<LineSettings>
  /** When it is closed, and has sent what was written, it is set back by itself: whoever does it before does it too soon. */
  readonly givesBack?: true
  /** Applies only what differs, and answers what the device then has. Rejects with a RelayError for what it cannot be. */
  set(settings: LineSettings): Promise<Required<LineSettings>>
  /** False: the device has no such lines. */
  setControl(lines: { readonly dtr?: boolean; readonly rts?: boolean }): Promise<boolean>
  /** How the control lines are now; undefined: the device has none. Absent where nobody can tell. */
  control?(): Promise<{ readonly dtr: boolean; readonly rts: boolean } | undefined>
  /** Undefined: not supported by this device. */
  modem(): Promise<ModemLines | undefined>
  /** Asked again and again, only while somebody listens. Answers how to stop. */
  onModem(listener: (now: ModemLines, before: ModemLines) => void): () => void
  /** False: the device cannot send one. */
  setBreak(on: boolean): Promise<boolean>
  /** Forgets what was received and not read yet, or what was written and not sent yet, in the kernel and here. */
  purge(which: 'rx' | 'tx' | 'both'): Promise<void>
  counters(): Promise<LineCounters | undefined>
}

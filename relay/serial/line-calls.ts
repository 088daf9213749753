import type { Libc } from '../native/libc.ts'
import type { LineCounters, ModemLines } from './port.ts'

const TIOCMGET = 0x5415
const TIOCMBIS = 0x5416
const TIOCMBIC = 0x5417
const TIOCSBRK = 0x5427
const TIOCCBRK = 0x5428
const TIOCGICOUNT = 0x545d
const TIOCOUTQ = 0x5411
const TCFLSH = 0x540b
const TIOCEXCL = 0x540c
const TIOCNXCL = 0x540d

const bits = { dtr: 0x2, rts: 0x4, cts: 0x20, dcd: 0x40, ri: 0x80, dsr: 0x100 }

/** What the kernel says of calls that a device has nothing for, pseudo-terminals among them. */
const absences: ReadonlySet<string | undefined> = new Set(['ENOTTY', 'EINVAL', 'ENOIOCTLCMD', 'EOPNOTSUPP'])

/**
 * What can be asked of the wires of a line beside its bytes. Drivers of USB devices wait for the device at nearly each of
 * these, so all but the quick ones run in a thread. Undefined or false where the device has no such thing; they reject
 * with the system's error for all else.
 */
export interface LineCalls {
  modem(): Promise<ModemLines | undefined>
  control(): Promise<{ readonly dtr: boolean; readonly rts: boolean } | undefined>
  /** Bits that are not mentioned stay as they are. */
  setControl(lines: { readonly dtr?: boolean; readonly rts?: boolean }): Promise<boolean>
  setBreak(on: boolean): Promise<boolean>
  counters(): Promise<LineCounters | undefined>
  /** Forgets what the kernel holds. */
  flush(which: 'rx' | 'tx' | 'both'): Promise<void>
  /** Bytes that the kernel has still to send. */
  unsent(): number
  /** Whether others may open it too, which the superuser may in any case. */
  setExclusive(on: boolean): void
}

export function lineCalls(libc: Libc, fd: number): LineCalls {
  const ifAny = async <T>(call: Promise<T>): Promise<T | undefined> => {
    try {
      return await call
    } catch (error) {
      if (absences.has((error as NodeJS.ErrnoException).code)) return undefined
      throw error
    }
  }
  const state = async (): Promise<number | undefined> => {
    const lines = Buffer.alloc(4)
    const answer = await ifAny(libc.inThread.ioctl(fd, TIOCMGET, lines))
    return answer === undefined ? undefined : lines.readUInt32LE()
  }
  const change = async (request: number, lines: number): Promise<boolean> => {
    if (lines === 0) return true
    const argument = Buffer.alloc(4)
    argument.writeUInt32LE(lines)
    return (await ifAny(libc.inThread.ioctl(fd, request, argument))) !== undefined
  }
  return {
    async modem() {
      const lines = await state()
      if (lines === undefined) return undefined
      const { cts, dsr, ri, dcd } = bits
      const on = (bit: number) => (lines & bit) !== 0
      return { cts: on(cts), dsr: on(dsr), ri: on(ri), dcd: on(dcd) }
    },
    async control() {
      const lines = await state()
      return lines === undefined
        ? undefined
        : { dtr: (lines & bits.dtr) !== 0, rts: (lines & bits.rts) !== 0 }
    },
    async setControl({ dtr, rts }) {
      const those = (value: boolean) => (dtr === value ? bits.dtr : 0) | (rts === value ? bits.rts : 0)
      if ((await state()) === undefined) return false
      return (await change(TIOCMBIC, those(false))) && (await change(TIOCMBIS, those(true)))
    },
    async setBreak(on) {
      // The kernel agrees to a break of devices that have none; those without modem lines are such.
      if ((await state()) === undefined) return false
      return (await ifAny(libc.inThread.ioctl(fd, on ? TIOCSBRK : TIOCCBRK, 0))) !== undefined
    },
    async counters() {
      const counts = Buffer.alloc(80)
      if ((await ifAny(libc.inThread.ioctl(fd, TIOCGICOUNT, counts))) === undefined) return undefined
      const at = (index: number) => counts.readInt32LE(index * 4)
      return { frame: at(6), overrun: at(7), parity: at(8), breaks: at(9) }
    },
    async flush(which) {
      await libc.inThread.ioctl(fd, TCFLSH, { rx: 0, tx: 1, both: 2 }[which])
    },
    unsent() {
      const count = Buffer.alloc(4)
      libc.ioctl(fd, TIOCOUTQ, count)
      return count.readInt32LE()
    },
    setExclusive(on) {
      libc.ioctl(fd, on ? TIOCEXCL : TIOCNXCL, 0)
    },
  }
}

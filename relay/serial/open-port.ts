import { close as closeCallback } from 'node:fs'
import { realpath } from 'node:fs/promises'
import { promisify } from 'node:util'
import type { OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { loadLibc } from '../native/libc.ts'
import type { TermiosOptions } from '../terminal/apply-termios.ts'
import { readTermios } from '../terminal/termios.ts'
import { openBinding } from './bindings.ts'
import { configure, restore } from './configure.ts'
import { checkDevice, findDevice, openDevice } from './device.ts'
import { lineCalls } from './line-calls.ts'
import { checkLine } from './line-settings.ts'
import { flockPort, type HeldPort, holdLockFile, holdPort } from './locks.ts'
import { openedPort } from './opened-port.ts'
import type { LineSettings, SerialPort } from './port.ts'
import { portScope } from './port-scope.ts'
import { defaultEndAfterMs } from './quiet-end.ts'

export interface PortOptions {
  /** Who opens it, as others are told who want it too: `relay lab`. */
  readonly holder: string
  /** The same at any moment, where it changes. */
  readonly holders?: () => string
  readonly settings?: LineSettings
  /** What else is to be changed about the terminal, after it was made to pass bytes as they are. */
  readonly terminal?: TermiosOptions
  /** How the control lines are set once it is open; the kernel raises both when it opens a port. */
  readonly control?: { readonly dtr?: boolean; readonly rts?: boolean }
  /**
   * Lower the control lines on closing. If absent they stay as they are, unless `terminal` says `hupcl`: many boards
   * reset themselves when they rise again.
   */
  readonly hangUp?: boolean
  /** After the end of writing: so much silence counts as the end of the line. `defaultEndAfterMs` if absent. */
  readonly endAfterMs?: number
  /** It will only be read, which a ceiling may permit where it does not permit writing. */
  readonly watch?: boolean
  /** Where lock files are; `/var/lock` if absent. */
  readonly lockDirectory?: string
}

const close = promisify(closeCallback)

/**
 * Opens a serial port, for this process alone, and makes it pass bytes as they are. Who has it already is found out before
 * it is touched. On disposal it gets back the settings that it had. Rejects with a RelayError, and then holds nothing.
 */
export async function openPort(path: string, options: PortOptions, cx: OpenContext): Promise<SerialPort> {
  const scope = portScope(path, { watch: options.watch })
  const what = scope.text
  const { settings: wanted = {} } = options
  checkLine(wanted, what)
  cx.egress.check(scope)
  const libc = await loadLibc(what)
  const { rdev } = await findDevice(path, what)
  await using opening = new AsyncDisposableStack()
  const hold = opening.use(await holdPort(rdev, heldAs(path, options), what, cx.signal))
  opening.use(await holdLockFile(await realpath(path).catch(() => path), what, options.lockDirectory))
  const device = await openDevice(scope, what, cx)
  opening.defer(() => close(device.fd))
  const { fd } = device
  if (device.rdev !== rdev) {
    throw new RelayError('conflict', {
      what,
      why: 'it was exchanged while it was being opened',
      fix: 'Try again',
    })
  }
  checkDevice(fd, what)
  await flockPort(libc, fd, rdev, what)
  try {
    const before = readTermios(libc, fd)
    const closing = { hangUp: options.hangUp ?? false }
    opening.defer(() => restore(libc, fd, before, closing.hangUp).catch(() => {}))
    // The speed that it has, for the package says nothing that helps of one that a device refuses.
    const baudRate = before.outputSpeed || 9_600
    // By the descriptor: whatever the path leads to by now, it is this device.
    const binding = await openBinding({ path: `/proc/self/fd/${fd}`, baudRate }, what)
    opening.defer(() => binding.close().catch(() => {}))
    const hangsUp = await configure(libc, fd, before, options, what)
    closing.hangUp ||= hangsUp
    const calls = lineCalls(libc, fd)
    // A pseudo-terminal, which has no wires, would stay so after this process was killed, as long as its other end lives.
    if (await calls.control()) {
      calls.setExclusive(true)
      opening.defer(() => calls.setExclusive(false))
    }
    // A device without such lines says so, and is as good without.
    if (options.control) await calls.setControl(options.control)
    if (cx.signal.aborted) throw RelayError.from(cx.signal.reason, what)
    const held = opening.move()
    return openedPort({
      path,
      what,
      libc,
      fd,
      binding,
      calls,
      held,
      hold,
      endAfterMs: options.endAfterMs ?? defaultEndAfterMs,
    })
  } catch (error) {
    throw RelayError.from(error, what)
  }
}

const heldAs = (path: string, { holder, holders }: PortOptions): HeldPort => ({
  path,
  get holder() {
    return holders?.() ?? holder
  },
})

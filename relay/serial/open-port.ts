import { close as closeCallback } from 'node:fs'
import { realpath } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { type Libc, loadLibc } from '../native/libc.ts'
import { changeTermios, checkKept, type TermiosOptions } from '../terminal/apply-termios.ts'
import { readTermios, type Termios, writeTermiosInThread } from '../terminal/termios.ts'
import { type Binding, openBinding } from './bindings.ts'
import { checkDevice, findDevice, openDevice } from './device.ts'
import { type LineCalls, lineCalls } from './line-calls.ts'
import { checkLine, differing, lineOf, withLine } from './line-settings.ts'
import { flockPort, type Hold, holdLockFile, holdPort } from './locks.ts'
import { modemWatch } from './modem-watch.ts'
import type { LineSettings, SerialPort } from './port.ts'
import { portScope } from './port-scope.ts'
import { portStream } from './port-stream.ts'
import { defaultEndAfterMs } from './quiet-end.ts'

export interface PortOptions {
  /** Who opens it, as others are told who want it too: `relay lab`. */
  readonly holder: string
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

/** How long what was written may take to be sent on closing, as long as it gets less. */
const stuckMs = 500
const longestDrainMs = 10_000
const lookEveryMs = 10
/** Closing waits in a thread for the driver; nobody waits longer than this for the thread. */
const closePatienceMs = 3_000

/**
 * Opens a serial port, for this process alone, and makes it pass bytes as they are. Who has it already is found out before
 * it is touched. On disposal it gets back the settings that it had. Rejects with a RelayError, and then holds nothing.
 */
export async function openPort(path: string, options: PortOptions, cx: OpenContext): Promise<SerialPort> {
  const scope = portScope(path, { watch: options.watch })
  const what = scope.text
  const { settings: wanted = {}, holder } = options
  checkLine(wanted, what)
  cx.egress.check(scope)
  const libc = await loadLibc(what)
  const { rdev } = await findDevice(path, what)
  await using opening = new AsyncDisposableStack()
  const hold = opening.use(await holdPort(rdev, { path, holder }, what, cx.signal))
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
    const baudRate = wanted.baud ?? (before.outputSpeed || 9_600)
    // By the descriptor: whatever the path leads to by now, it is this device.
    const binding = await openBinding({ path: `/proc/self/fd/${fd}`, baudRate }, what)
    opening.defer(() => binding.close().catch(() => {}))
    const { cflag } = await configure(libc, fd, before, options, what)
    closing.hangUp ||= (cflag & HUPCL) !== 0
    const calls = lineCalls(libc, fd)
    calls.setExclusive(true)
    opening.defer(() => calls.setExclusive(false))
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

const CREAD = 0o200
const CLOCAL = 0o4000
const HUPCL = 0o2000
const IXANY_IXON_IXOFF = 0o16000

/** Bytes pass as they are; the line is as the device has it, but for what is wanted. */
async function configure(
  libc: Libc,
  fd: number,
  before: Termios,
  { settings: wanted = {}, terminal = {} }: PortOptions,
  what: string,
): Promise<Termios> {
  const characters = Buffer.from(before.characters)
  characters[5] = 0
  characters[6] = 1
  const plain: Termios = {
    ...before,
    iflag: before.iflag & IXANY_IXON_IXOFF,
    oflag: 0,
    lflag: 0,
    cflag: (before.cflag | CREAD | CLOCAL) & ~HUPCL,
    characters,
    outputSpeed: before.outputSpeed || 9_600,
    inputSpeed: before.inputSpeed || 9_600,
  }
  const next = withLine(plain, wanted)
  changeTermios(next, terminal)
  checkLine({ stop: wanted.stop ?? 1 }, what, lineOf(next))
  await writeLine(libc, fd, next, what)
  const now = readTermios(libc, fd)
  const [lost] = differing(lineOf(now), wanted)
  if (lost !== undefined) throw notKept(lost, wanted[lost], what)
  checkKept(terminal, next, now, what)
  return next
}

async function writeLine(libc: Libc, fd: number, next: Termios, what: string): Promise<void> {
  try {
    await writeTermiosInThread(libc, fd, next)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EINVAL') throw error
    const why = 'the device does not take these settings'
    throw new RelayError('unsupported', { what, why, fix: 'Choose others', cause: error })
  }
}

export function notKept(name: string, value: unknown, what: string): RelayError {
  return new RelayError('unsupported', {
    what,
    why: `this device does not keep \`${name}=${value}\``,
    fix: 'Leave it out, or choose what the device can',
  })
}

interface Parts {
  readonly path: string
  readonly what: string
  readonly libc: Libc
  readonly fd: number
  readonly binding: Binding
  readonly calls: LineCalls
  /** What is given back when all is over. */
  readonly held: AsyncDisposableStack
  readonly hold: Hold
  readonly endAfterMs: number
}

function openedPort({ path, what, libc, fd, binding, calls, held, hold, endAfterMs }: Parts): SerialPort {
  const gone = () => {
    const why = 'the device has gone: it was unplugged, or its driver hung it up'
    return new RelayError('reset', { what, why, fix: 'Plug it in again' })
  }
  const bytes = portStream(binding.fd, libc, { gone, endAfterMs })
  const { stream } = bytes
  // Between pumps nobody may be listening, and an error that nobody hears ends the process.
  stream
    .on('error', () => {})
    .once('finish', hold.leaving)
    .once('close', hold.leaving)
  // A paused stream does not see a hang-up by itself.
  binding.poller.once('disconnect', error => {
    if (!error?.canceled) bytes.hangUp()
  })
  const isOpen = () => !stream.destroyed
  let line = lineOf(readTermios(libc, fd))
  const readLine = () => {
    if (!isOpen()) return line
    try {
      line = lineOf(readTermios(libc, fd))
    } catch {
      // It has gone, which the stream tells.
    }
    return line
  }
  /** One call at a time: each begins with what the one before has left. */
  let last: Promise<unknown> = Promise.resolve()
  const inTurn = <T>(act: () => Promise<T>): Promise<T> => {
    const turn = last.then(async () => {
      if (!isOpen()) throw stream.errored ?? closed(what)
      try {
        return await act()
      } catch (error) {
        throw RelayError.from(error, what)
      }
    })
    last = turn.catch(() => {})
    return turn
  }
  const modem = modemWatch(() => inTurn(calls.modem))
  let closing: Promise<void> | undefined

  const shut = async () => {
    hold.leaving()
    modem.stop()
    const lost = stream.destroyed
    await last
    if (!lost) await drained(calls)
    if (!stream.closed) await new Promise<void>(resolve => stream.once('close', () => resolve()).destroy())
    // What is left would make closing wait for the other side.
    await calls.flush('tx').catch(() => {})
    const gone = held.disposeAsync().catch(() => {})
    await Promise.race([gone, sleep(closePatienceMs, undefined, { ref: false })])
  }

  return {
    stream,
    path,
    get settings() {
      return readLine()
    },
    set: settings =>
      inTurn(async () => {
        const now = readTermios(libc, fd)
        checkLine(settings, what, lineOf(now))
        if (differing(lineOf(now), settings).length > 0 || isOtherSpeed(now, settings)) {
          await writeLine(libc, fd, withLine(now, settings), what)
        }
        return readLine()
      }),
    setControl: lines => inTurn(() => calls.setControl(lines)),
    modem: () => inTurn(calls.modem),
    onModem: modem.on,
    setBreak: on => inTurn(() => calls.setBreak(on)),
    purge: which =>
      inTurn(async () => {
        if (which !== 'tx') {
          await calls.flush('rx')
          bytes.forgetRead()
        }
        if (which !== 'rx') await bytes.forgetWritten(() => calls.flush('tx'))
      }),
    counters: () => inTurn(calls.counters),
    [Symbol.asyncDispose]() {
      closing ??= shut()
      return closing
    },
  }
}

/** Near is not enough for a change: 9,600 and 9,700 are two speeds. */
function isOtherSpeed({ outputSpeed }: Termios, { baud }: LineSettings): boolean {
  return baud !== undefined && baud !== outputSpeed
}

function closed(what: string): RelayError {
  return new RelayError('closed', { what, why: 'the port was closed' })
}

/** All is sent, or it gets no less: a line that the other side has stopped may never be. */
async function drained({ unsent }: LineCalls): Promise<void> {
  const deadline = performance.now() + longestDrainMs
  let left = Infinity
  let lessAt = performance.now()
  for (;;) {
    let now: number
    try {
      now = unsent()
    } catch {
      return
    }
    if (now === 0) return
    if (now < left) lessAt = performance.now()
    left = now
    if (performance.now() > deadline || performance.now() - lessAt > stuckMs) return
    await sleep(lookEveryMs)
  }
}

/** As it was found, but for what closing it does to the control lines. */
async function restore(libc: Libc, fd: number, before: Termios, hangUp: boolean): Promise<void> {
  const cflag = hangUp ? before.cflag | HUPCL : before.cflag & ~HUPCL
  await writeTermiosInThread(libc, fd, { ...before, cflag })
}

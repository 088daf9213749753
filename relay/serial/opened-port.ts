import { setTimeout as sleep } from 'node:timers/promises'
import { RelayError } from '../errors.ts'
import type { Libc } from '../native/libc.ts'
import { readTermios, type Termios } from '../terminal/termios.ts'
import type { Binding } from './bindings.ts'
import { writeLine } from './configure.ts'
import { drained } from './drain.ts'
import type { LineCalls } from './line-calls.ts'
import { checkLine, differing, lineOf, withLine } from './line-settings.ts'
import type { Hold } from './locks.ts'
import { modemWatch } from './modem-watch.ts'
import type { LineSettings, SerialPort } from './port.ts'
import { portStream } from './port-stream.ts'

/** Closing waits in a thread for the driver; nobody waits longer than this for the thread. */
const closePatienceMs = 3_000

export interface OpenedParts {
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

/** A port that is open and set, until it is disposed. */
export function openedPort({
  path,
  what,
  libc,
  fd,
  binding,
  calls,
  held,
  hold,
  endAfterMs,
}: OpenedParts): SerialPort {
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
  const counters = () => inTurn(calls.counters)
  hold.opened(counters)
  const modem = modemWatch(() => inTurn(calls.modem))
  let closing: Promise<void> | undefined

  const shut = async () => {
    hold.leaving()
    modem.stop()
    const lost = stream.destroyed
    await last
    if (!lost) await drained(calls)
    if (!stream.closed) await new Promise<void>(resolve => stream.once('close', () => resolve()).destroy())
    // What is left would make closing wait for the other side, and what was cut shall not be sent any more. All else stays: a
    // flush would take from a pseudo-terminal what its other side has not read yet.
    if (lost || isLeft(calls)) await calls.flush('tx').catch(() => {})
    const gone = held.disposeAsync().catch(() => {})
    await Promise.race([gone, sleep(closePatienceMs, undefined, { ref: false })])
  }

  return {
    stream,
    lender: bytes.lender,
    path,
    givesBack: true,
    get settings() {
      return readLine()
    },
    set: settings =>
      inTurn(async () => {
        const now = readTermios(libc, fd)
        checkLine(settings, what, lineOf(now))
        if (differing(lineOf(now), settings).length > 0 || isOtherSpeed(now, settings)) {
          await writeLine(libc, fd, withLine(now, settings), settings, what)
        }
        return readLine()
      }),
    setControl: lines => inTurn(() => calls.setControl(lines)),
    control: () => inTurn(calls.control),
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
    counters,
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

function isLeft({ unsent }: LineCalls): boolean {
  try {
    return unsent() > 0
  } catch {
    return false
  }
}

function closed(what: string): RelayError {
  return new RelayError('closed', { what, why: 'the port was closed' })
}

import { once } from 'node:events'
import { closeSync, constants, openSync } from 'node:fs'
import type { Duplex } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import { placeLink } from '#relay/endpoints/pty-link.ts'
import { type Libc, loadLibc } from '#relay/native/libc.ts'
import { lineOf, sameLine, withLine } from '#relay/serial/line-settings.ts'
import type { LineSettings } from '#relay/serial/port.ts'
import { isHeldOpen } from '#relay/terminal/held-open.ts'
import { openPty } from '#relay/terminal/open-pty.ts'
import { terminalStream } from '#relay/terminal/terminal-stream.ts'
import { readTermios, type Termios, writeTermios } from '#relay/terminal/termios.ts'
import { modes } from '#relay/terminal/termios-modes.ts'

/** What a pseudo-terminal keeps of what a program sets: it has always eight data bits, and no parity. */
export type VirtualLine = Pick<Required<LineSettings>, 'baud' | 'stop' | 'flow'>

export interface VirtualPortOptions {
  /** As it is set before a program sets it otherwise. */
  readonly line: Required<LineSettings>
  /** A symbolic link to it. */
  readonly link?: string
  /** A program has set it otherwise. Told before the bytes that were written after that. */
  readonly changed: (line: VirtualLine) => void
  /** What a program has written. Nothing more is read before it resolves. */
  readonly written: (bytes: Buffer) => Promise<void>
  /** A program has opened it, or the last one has closed it. */
  readonly used: (isOpen: boolean) => void
}

/** A port on this host that programs open like a real one, one after the other or several at a time. */
export interface VirtualPort extends AsyncDisposable {
  /** `/dev/pts/7` */
  readonly path: string
  /** For the programs that have it open. With none it is dropped, as by any port that nobody has open. */
  give(bytes: Buffer): Promise<void>
  /** Resolves when no program has it open, and all that was written has been told; soon, whether it is so or not. */
  unused(): Promise<void>
}

/** Nothing tells of programs that open it or set it, so it is looked at so often, and before bytes are passed on. */
const lookEveryMs = 10

/** A program that was left behind may have it open for as long as it likes. */
const unusedMs = 2_000

const TCFLSH = 0x540b
const TCIFLUSH = 0
const F_DUPFD_CLOEXEC = 1030
const { O_RDWR, O_NOCTTY, O_NONBLOCK } = constants

/** Rejects with a RelayError that says `what` needed it, and then holds nothing. */
export async function openVirtualPort(options: VirtualPortOptions, what: string): Promise<VirtualPort> {
  const { link, changed, written, used } = options
  const libc = await loadLibc(what)
  await using opening = new AsyncDisposableStack()
  const { master, slavePath: path } = await openPty(what)
  opening.defer(() => closeSync(master))
  writeTermios(libc, master, rawWith(readTermios(libc, master), options.line))
  emptied(libc, path)
  if (link !== undefined) {
    const placed = await placeLink(link, path, false, what)
    opening.defer(() => placed.remove())
  }

  let seen = lineOf(readTermios(libc, master))
  const look = () => {
    const now = lineOf(readTermios(libc, master))
    // A speed of 0 hangs a line up; it is none that a line can have.
    if (now.baud === 0 || sameLine(now, seen)) return
    seen = now
    changed({ baud: now.baud, stop: now.stop, flow: now.flow })
  }

  let isClosing = false
  let current: Duplex | undefined
  let serving: Promise<void> | undefined
  /** From a program's opening it until none has it open any more. */
  const serve = async () => {
    const stream = await terminalStream(libc.fcntl(master, F_DUPFD_CLOEXEC, 0))
    stream.on('error', () => {})
    if (isClosing) return void stream.destroy()
    current = stream
    used(true)
    try {
      for await (const bytes of stream) {
        look()
        await written(bytes)
      }
    } catch {
      // It was closed from this side.
    } finally {
      current = undefined
      stream.destroy()
      if (!stream.closed) await once(stream, 'close')
      if (!isClosing) {
        emptied(libc, path)
        used(false)
      }
    }
  }
  const timer = setInterval(() => {
    look()
    if (serving || !isHeldOpen(libc, master)) return
    serving = serve().finally(() => {
      serving = undefined
    })
  }, lookEveryMs)
  opening.defer(async () => {
    isClosing = true
    clearInterval(timer)
    current?.destroy()
    await serving
  })

  const held = opening.move()
  return {
    path,
    async give(bytes) {
      const stream = current
      if (!stream || stream.destroyed || stream.readableEnded) return
      if (!stream.write(bytes)) await settled(stream)
    },
    async unused() {
      const deadline = performance.now() + unusedMs
      while ((serving || isHeldOpen(libc, master)) && performance.now() < deadline) await pause(lookEveryMs)
    },
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  }
}

function rawWith(settings: Termios, line: Required<LineSettings>): Termios {
  const raw = { ...settings, characters: Buffer.from(settings.characters) }
  modes.rawer!.change(raw)
  return withLine(raw, line)
}

/**
 * Whoever opens it next shall not read what was meant for the last one. And only of a terminal that was open before does
 * the kernel tell whether it still is.
 */
function emptied(libc: Libc, path: string): void {
  const fd = openSync(path, O_RDWR | O_NOCTTY | O_NONBLOCK)
  libc.ioctl(fd, TCFLSH, TCIFLUSH)
  closeSync(fd)
}

/** Resolves when the stream has room again, or has gone. */
function settled(stream: Duplex): Promise<void> {
  return new Promise(resolve => {
    const done = () => {
      stream.off('drain', done).off('close', done)
      resolve()
    }
    stream.on('drain', done).on('close', done)
  })
}

import { closeSync, constants, openSync } from 'node:fs'
import type { Address } from '../address.ts'
import type { Channel, Peer } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { loadLibc } from '../native/libc.ts'
import { applyTermios } from '../terminal/apply-termios.ts'
import { isHeldOpen } from '../terminal/held-open.ts'
import { openPty, type Pty } from '../terminal/open-pty.ts'
import { terminalStream } from '../terminal/terminal-stream.ts'
import type { Placed } from './placed.ts'
import type { PtyOptions } from './pty.ts'
import { placeLink } from './pty-link.ts'
import { dress } from './socket-file.ts'
import { nearlyFullAt } from './sockets.ts'

export interface PtyTarget {
  readonly scope: Address
  /** An absolute path. */
  readonly link: string | undefined
  readonly options: PtyOptions
}

const defaultIntervalMs = 100

/** A terminal in its place, for programs to open. */
export interface PlacedPty {
  readonly peer: Peer
  /** Resolves when a program has opened it; rejects, and closes it, when `signal` is aborted. */
  opened(signal: AbortSignal): Promise<void>
  channel(): Promise<Channel>
}

/** Rejects with a RelayError that names the address, and then holds nothing. */
export async function placePty(
  { scope, link, options }: PtyTarget,
  whose: Parameters<typeof nearlyFullAt>[1],
): Promise<PlacedPty> {
  const what = scope.text
  const pty = await openPty(what)
  let placed: Placed | undefined
  const close = () => {
    placed?.remove()
    closeSync(pty.master)
  }
  try {
    if (nearlyFullAt(pty.master, whose)) {
      const why = 'this process has hardly any free file descriptors left'
      throw new RelayError('exhausted', { what, why, fix: 'Raise `ulimit -n`' })
    }
    await applyTermios(pty.master, options, what)
    const { user, group, mode } = options
    await dress(pty.slavePath, { user, group, mode }, what)
    if (options.fork || options.waitSlave) openOnce(pty)
    if (link !== undefined) {
      const made = await placeLink(link, pty.slavePath, options.unlinkEarly ?? false, what)
      if (options.unlinkClose ?? true) placed = made
    }
  } catch (error) {
    close()
    throw RelayError.from(error, what)
  }
  const peer = { text: link === undefined ? pty.slavePath : `${link} (${pty.slavePath})` }
  return {
    peer,
    async opened(signal) {
      const everyMs = options.interval ?? defaultIntervalMs
      await heldOpen(pty.master, everyMs, signal).catch((error: unknown) => {
        close()
        throw RelayError.from(error, what)
      })
    },
    async channel() {
      try {
        const stream = await terminalStream(pty.master, { sitOutMs: options.sitoutEio ?? 0 })
        return terminalChannel(stream, peer, () => placed?.remove())
      } catch (error) {
        placed?.remove()
        throw RelayError.from(error, what)
      }
    },
  }
}

/** Only of a terminal that was open before does the kernel tell whether it still is. */
function openOnce({ slavePath }: Pty): void {
  closeSync(openSync(slavePath, constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK))
}

/** Rejects when `signal` is aborted. */
async function heldOpen(master: number, everyMs: number, signal: AbortSignal): Promise<void> {
  const libc = await loadLibc('a terminal')
  await new Promise<void>((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason)
    const settle = (done: () => void) => {
      clearInterval(timer)
      signal.removeEventListener('abort', onAbort)
      done()
    }
    const timer = setInterval(() => {
      if (isHeldOpen(libc, master)) settle(resolve)
    }, everyMs)
    const onAbort = () => settle(() => reject(signal.reason))
    signal.addEventListener('abort', onAbort)
  })
}

function terminalChannel(
  stream: Awaited<ReturnType<typeof terminalStream>>,
  peer: Peer,
  gone: () => void,
): Channel {
  const close = () => {
    gone()
    stream.destroy()
  }
  // Between pumps nobody may be listening, and an error that nobody hears ends the process.
  stream.on('error', () => {}).on('close', gone)
  return {
    stream,
    framing: 'stream',
    peer,
    hangsUp: true,
    abort: close,
    async [Symbol.asyncDispose]() {
      close()
      if (!stream.closed) await new Promise<void>(resolve => stream.once('close', () => resolve()))
    },
  }
}

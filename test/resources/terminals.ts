import { once } from 'node:events'
import { closeSync, constants, openSync } from 'node:fs'
import type { Duplex } from 'node:stream'
import { parseAddress } from '#relay/address.ts'
import { readOptions } from '#relay/options.ts'
import { applyTermios, type TermiosOptions } from '#relay/terminal/apply-termios.ts'
import { openPty } from '#relay/terminal/open-pty.ts'
import { terminalStream } from '#relay/terminal/terminal-stream.ts'
import { termiosOptions } from '#relay/terminal/termios-options.ts'

/** Terminal options as an address has them: `raw,echo=0`. */
export function termios(text: string): TermiosOptions {
  return readOptions(parseAddress(`PTY,${text}`), [termiosOptions])
}

/** Opens a terminal as a program would. The stream owns the descriptor. */
export async function openTerminal(path: string, options = 'rawer'): Promise<Duplex> {
  const fd = openSync(path, constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK)
  try {
    if (options) await applyTermios(fd, termios(options))
  } catch (error) {
    closeSync(fd)
    throw error
  }
  return terminalStream(fd)
}

/** Both ends of a pseudo-terminal that passes bytes as they are. */
export async function terminalPair(): Promise<
  AsyncDisposable & { readonly path: string; readonly master: Duplex; readonly slave: Duplex }
> {
  const { master, slavePath } = await openPty()
  const ours = await terminalStream(master)
  const theirs = await openTerminal(slavePath)
  return {
    path: slavePath,
    master: ours,
    slave: theirs,
    async [Symbol.asyncDispose]() {
      for (const stream of [theirs, ours]) await destroyed(stream)
    },
  }
}

export function destroyed(stream: Duplex): Promise<void> {
  return new Promise(resolve => {
    if (stream.closed) return resolve()
    stream
      .on('error', () => {})
      .once('close', () => resolve())
      .destroy()
  })
}

/** The next so many bytes. */
export async function gather(stream: Duplex, size: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let left = size
  while (left > 0) {
    const chunk: Buffer | null = stream.read()
    if (chunk === null) {
      await once(stream, 'readable')
      continue
    }
    chunks.push(chunk)
    left -= chunk.length
  }
  return Buffer.concat(chunks)
}

import { closeSync, constants, openSync } from 'node:fs'
import type { Duplex } from 'node:stream'
import { type Libc, loadLibc } from '../native/libc.ts'
import { applyTermios, type TermiosOptions } from '../terminal/apply-termios.ts'
import { O_CLOEXEC, openPty } from '../terminal/open-pty.ts'
import { terminalStream } from '../terminal/terminal-stream.ts'
import { programStream } from './program-stream.ts'

/** What lies between a program and us. */
export interface Wiring {
  /** Our end, which owns its descriptors. */
  readonly stream: Duplex
  /** The program's ends: for reading, and for writing. Closed by `handedOver`. */
  readonly input: number
  readonly output: number
  /** The program has them now, or never will. */
  handedOver(): void
}

const AF_UNIX = 1
const SOCK_STREAM = 1
const F_DUPFD_CLOEXEC = 1030

/** One socket for both directions, as from inetd: each end of it can be shut down, and knows what the other end does. */
export async function socketWiring(what: string): Promise<Wiring> {
  const libc = await loadLibc(what)
  const [ours, theirs] = pairOf(pair => libc.socketpair(AF_UNIX, SOCK_STREAM | O_CLOEXEC, 0, pair))
  // Two of ours: a program that does not read any more must not keep us from reading what it has said.
  const again = duplicate(libc, ours, theirs)
  const stream = programStream(again, ours, 'shutdown')
  return { stream, input: theirs, output: theirs, handedOver: once(() => closeSync(theirs)) }
}

/** Two pipes, which cannot be told from those of a shell. */
export async function pipeWiring(what: string): Promise<Wiring> {
  const libc = await loadLibc(what)
  const [theirInput, ourOutput] = pairOf(pair => libc.pipe2(pair, O_CLOEXEC))
  const [ourInput, theirOutput] = pairOf(pair => libc.pipe2(pair, O_CLOEXEC))
  const stream = programStream(ourInput, ourOutput, 'close')
  const handedOver = once(() => {
    closeSync(theirInput)
    closeSync(theirOutput)
  })
  return { stream, input: theirInput, output: theirOutput, handedOver }
}

/** A terminal, set as the options say. */
export async function terminalWiring(what: string, options: TermiosOptions): Promise<Wiring> {
  const { master, slavePath } = await openPty(what)
  let slave: number
  try {
    slave = openSync(slavePath, constants.O_RDWR | constants.O_NOCTTY)
  } catch (error) {
    closeSync(master)
    throw error
  }
  const handedOver = once(() => closeSync(slave))
  try {
    await applyTermios(slave, options, what)
    return { stream: await terminalStream(master), input: slave, output: slave, handedOver }
  } catch (error) {
    closeSync(master)
    handedOver()
    throw error
  }
}

function pairOf(make: (pair: Buffer) => void): [number, number] {
  const pair = Buffer.alloc(8)
  make(pair)
  return [pair.readInt32LE(0), pair.readInt32LE(4)]
}

function duplicate(libc: Libc, fd: number, other: number): number {
  try {
    return libc.fcntl(fd, F_DUPFD_CLOEXEC, 0)
  } catch (error) {
    closeSync(fd)
    closeSync(other)
    throw error
  }
}

function once(act: () => void): () => void {
  let done = false
  return () => {
    if (done) return
    done = true
    act()
  }
}

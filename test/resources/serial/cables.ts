import { closeSync, constants, openSync } from 'node:fs'
import type { Duplex } from 'node:stream'
import { loadLibc } from '#relay/native/libc.ts'
import { applyTermios } from '#relay/terminal/apply-termios.ts'
import { O_CLOEXEC, openPty, slavePathOf } from '#relay/terminal/open-pty.ts'
import { terminalStream } from '#relay/terminal/terminal-stream.ts'
import { readTermios } from '#relay/terminal/termios.ts'
import { destroyed, termios } from '../terminals.ts'

/** A terminal that stands for a serial port: what is written to `far` arrives at whoever has `path` open. */
export interface FakePort extends AsyncDisposable {
  readonly path: string
  /** The far end of its cable. */
  readonly far: Duplex
  /** Pulls the device out: whoever has it open is hung up. */
  unplug(): Promise<void>
}

/** The port is there, and passes bytes as they are, whether anybody has it open or not. */
export async function openFakePort(): Promise<FakePort> {
  const { master, slavePath } = await openPty()
  const held = openSync(slavePath, constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK)
  await applyTermios(held, termios('rawer,b9600'))
  const far = await terminalStream(master)
  let isHeld = true
  let kept: number | undefined
  const close = async () => {
    if (isHeld) closeSync(held)
    isHeld = false
    await destroyed(far)
  }
  return {
    path: slavePath,
    far,
    async unplug() {
      await close()
      kept = await keepNumber(slavePath)
    },
    async [Symbol.asyncDispose]() {
      await close()
      if (kept !== undefined) closeSync(kept)
    },
  }
}

/**
 * Whoever waits for a device that has gone would take the next terminal of the same number for it, which may be another
 * test's. So this one has no successor that anybody could open, for as long as what it answers is open.
 */
async function keepNumber(path: string): Promise<number | undefined> {
  const libc = await loadLibc('a test')
  const others: number[] = []
  try {
    for (let tries = 0; tries < 64; tries++) {
      // Without `unlockpt` nobody can open its other end. The kernel takes the lowest number that is free.
      const master = libc.posix_openpt(constants.O_RDWR | constants.O_NOCTTY | O_CLOEXEC)
      if (slavePathOf(libc, master) === path) return master
      others.push(master)
    }
    return undefined
  } finally {
    for (const fd of others) closeSync(fd)
  }
}

/** The speed of a port, whoever has it open. */
export async function baudOf(path: string): Promise<number> {
  const fd = openSync(path, constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK)
  try {
    return readTermios(await loadLibc('a test'), fd).outputSpeed
  } finally {
    closeSync(fd)
  }
}

/** Two ports with a cable between them. */
export async function openCable(): Promise<AsyncDisposable & { readonly a: FakePort; readonly b: FakePort }> {
  const [a, b] = [await openFakePort(), await openFakePort()]
  a.far.pipe(b.far)
  b.far.pipe(a.far)
  return {
    a,
    b,
    async [Symbol.asyncDispose]() {
      await a[Symbol.asyncDispose]()
      await b[Symbol.asyncDispose]()
    },
  }
}

/** A port whose output is its input. */
export async function openLoop(): Promise<FakePort> {
  const port = await openFakePort()
  port.far.pipe(port.far)
  return port
}

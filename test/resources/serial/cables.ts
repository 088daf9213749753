import { closeSync, constants, openSync } from 'node:fs'
import type { Duplex } from 'node:stream'
import { loadLibc } from '#relay/native/libc.ts'
import { applyTermios } from '#relay/terminal/apply-termios.ts'
import { openPty } from '#relay/terminal/open-pty.ts'
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
  const unplug = async () => {
    if (isHeld) closeSync(held)
    isHeld = false
    await destroyed(far)
  }
  return { path: slavePath, far, unplug, [Symbol.asyncDispose]: unplug }
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

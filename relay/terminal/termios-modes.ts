import type { Termios } from './termios.ts'

interface Mode {
  readonly summary: string
  readonly aliases: readonly string[]
  readonly change: (settings: Termios) => void
}

const one = (settings: Termios) => {
  settings.characters[5] = 0
  settings.characters[6] = 1
}

const CS8 = 0o60
const CREAD = 0o200
const PARENB = 0o400

/** Options that set many flags together, to the same as in socat. */
export const modes: Readonly<Record<string, Mode>> = {
  raw: {
    summary: 'bytes pass nearly as they are; says nothing about echo',
    aliases: [],
    change(settings) {
      // all but those that socat leaves alone
      settings.iflag = 0
      settings.oflag &= ~0o1
      settings.lflag &= ~0o7
      one(settings)
    },
  },
  rawer: {
    summary: 'bytes pass as they are, without echo',
    aliases: ['termios-rawer'],
    change(settings) {
      settings.iflag = 0
      settings.oflag = 0
      settings.lflag = 0
      // socat also clears the speed, which would hang up a real line.
      settings.cflag = CS8 | CREAD
      one(settings)
    },
  },
  cfmakeraw: {
    summary: 'what the C library calls raw: bytes pass as they are, without echo',
    aliases: ['termios-cfmakeraw'],
    change(settings) {
      settings.iflag &= ~(0o1 | 0o2 | 0o10 | 0o40 | 0o100 | 0o200 | 0o400 | 0o2000)
      settings.oflag &= ~0o1
      settings.lflag &= ~(0o10 | 0o100 | 0o2 | 0o1 | 0o100000)
      settings.cflag = (settings.cflag & ~PARENB) | CS8
      one(settings)
    },
  },
  sane: {
    summary: 'what a terminal for a person should be',
    aliases: [],
    change(settings) {
      settings.iflag = (settings.iflag & ~(0o1 | 0o100 | 0o200 | 0o1000 | 0o4000 | 0o10000)) | 0o22402
      settings.oflag = 0o5
      settings.lflag = 0o105073
      settings.cflag |= CREAD
      defaultCharacters.copy(settings.characters)
    },
  },
}

/** In the kernel's order, from the interrupt to the second end of line. */
const defaultCharacters: Buffer = Buffer.from([3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0])

import type { Libc } from '../native/libc.ts'

/** The settings of a terminal, with the kernel's own numbers for its flags. */
export interface Termios {
  iflag: number
  oflag: number
  /** Without the speeds. */
  cflag: number
  lflag: number
  line: number
  /** Control characters by their index, see `termios-flags.ts`. */
  readonly characters: Buffer
  /** In bits a second, any number; 0 hangs up. */
  inputSpeed: number
  outputSpeed: number
}

// The kernel's newer call, which takes any speed; the library's goes by a list of them.
const TCGETS2 = 0x802c542a
const TCSETS2 = 0x402c542b
const size = 44
const charactersAt = 17
const charactersSize = 19

const CBAUD = 0o10017
const CIBAUD = CBAUD << 16
const BOTHER = 0o10000

/** Throws the system's error: ENOTTY where `fd` is no terminal. */
export function readTermios(libc: Libc, fd: number): Termios {
  const bytes = Buffer.alloc(size)
  libc.ioctl(fd, TCGETS2, bytes)
  return {
    iflag: bytes.readUInt32LE(0),
    oflag: bytes.readUInt32LE(4),
    cflag: bytes.readUInt32LE(8) & ~(CBAUD | CIBAUD),
    lflag: bytes.readUInt32LE(12),
    line: bytes[16]!,
    characters: Buffer.from(bytes.subarray(charactersAt, charactersAt + charactersSize)),
    inputSpeed: bytes.readUInt32LE(36),
    outputSpeed: bytes.readUInt32LE(40),
  }
}

/** At once, without waiting for what is still to be sent. Throws the system's error. */
export function writeTermios(libc: Libc, fd: number, settings: Termios): void {
  libc.ioctl(fd, TCSETS2, encoded(settings))
}

/** The same of a device whose driver may take its time, as those for USB do. Rejects with the system's error. */
export async function writeTermiosInThread(libc: Libc, fd: number, settings: Termios): Promise<void> {
  await libc.inThread.ioctl(fd, TCSETS2, encoded(settings))
}

function encoded(settings: Termios): Buffer {
  const { iflag, oflag, cflag, lflag, line, characters, inputSpeed, outputSpeed } = settings
  const bytes = Buffer.alloc(size)
  const input = inputSpeed === outputSpeed ? 0 : speedCode(inputSpeed) << 16
  bytes.writeUInt32LE(iflag >>> 0, 0)
  bytes.writeUInt32LE(oflag >>> 0, 4)
  bytes.writeUInt32LE((cflag | speedCode(outputSpeed) | input) >>> 0, 8)
  bytes.writeUInt32LE(lflag >>> 0, 12)
  bytes[16] = line
  characters.copy(bytes, charactersAt)
  bytes.writeUInt32LE(inputSpeed, 36)
  bytes.writeUInt32LE(outputSpeed, 40)
  return bytes
}

/** Programs that know the list only see a speed that is on it when it is written by its place there. */
function speedCode(speed: number): number {
  const slow = slowSpeeds.indexOf(speed)
  if (slow !== -1) return slow
  const fast = fastSpeeds.indexOf(speed)
  return fast === -1 ? BOTHER : BOTHER + 1 + fast
}

export const slowSpeeds: readonly number[] = [
  0, 50, 75, 110, 134, 150, 200, 300, 600, 1_200, 1_800, 2_400, 4_800, 9_600, 19_200, 38_400,
]
export const fastSpeeds: readonly number[] = [
  57_600, 115_200, 230_400, 460_800, 500_000, 576_000, 921_600, 1_000_000, 1_152_000, 1_500_000, 2_000_000,
  2_500_000, 3_000_000, 3_500_000, 4_000_000,
]

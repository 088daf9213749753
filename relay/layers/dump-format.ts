import type { Direction, DumpFormat } from '../flow-settings.ts'

/** What a dump has to say of one piece. */
export interface DumpEntry {
  readonly direction: Direction
  /** In milliseconds since 1970, with a fraction. */
  readonly at: number
  /** How many bytes had gone that way before. */
  readonly from: number
  readonly bytes: Buffer
  /**
   * Stands at the end of the header, for who dumps several connections into one place; and then each header begins a
   * line. Without it the dump is what socat writes, to the letter: there a header follows unfinished text at once.
   */
  readonly connectionId?: string
}

/**
 * The piece as socat's `-x` (hex), its `-v` (text) or both of them show it, in ASCII. Nothing in it moves a cursor or is
 * obeyed by a terminal in another way, whatever the bytes are.
 */
export function formatDump(format: DumpFormat, entry: DumpEntry): Buffer {
  const head = Buffer.from(header(entry), 'latin1')
  const body = bodies[format](entry.bytes)
  const tail = format === 'text' && entry.connectionId !== undefined && body.at(-1) !== newline
  return Buffer.concat(tail ? [head, body, Buffer.from([newline])] : [head, body])
}

const bodies: Record<DumpFormat, (bytes: Buffer) => Buffer> = {
  hex(bytes) {
    const out = Buffer.allocUnsafe(bytes.length * 3 + 1)
    out[writeHex(bytes, out, 0)] = newline
    return out
  },
  text: textOf,
  both: rowsOf,
}

function header({ direction, at, from, bytes, connectionId }: DumpEntry): string {
  const arrow = direction === 'forward' ? '>' : '<'
  const to = from + bytes.length - 1
  const which = connectionId === undefined ? '' : ` connection=${connectionId}`
  return `${arrow} ${timeOf(at)}  length=${bytes.length} from=${from} to=${to}${which}\n`
}

/** Local time, as socat has it. */
function timeOf(at: number): string {
  const date = new Date(at)
  const two = (n: number) => String(n).padStart(2, '0')
  const day = `${date.getFullYear()}/${two(date.getMonth() + 1)}/${two(date.getDate())}`
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
  const micros = Math.floor((at - Math.floor(at / 1_000) * 1_000) * 1_000)
  return `${day} ${time}.${String(micros).padStart(6, '0')}`
}

const newline = 0x0a
const space = 0x20
const rowLength = 16
/** Three for each byte of a row, two spaces, the column, a line feed. */
const longestRow = rowLength * 3 + 2 + rowLength + 1

const digits: Buffer = Buffer.from('0123456789abcdef')

/** As itself, or a dot. */
const inColumn = (byte: number) => (byte >= 0x20 && byte < 0x7f ? byte : 0x2e)

/** What stands behind a backslash for these; a tab and a line feed stay what they are. */
const spelled: Record<number, number> = { 7: 0x61, 8: 0x62, 11: 0x76, 12: 0x66, 13: 0x72, 92: 92 }

/** Writes ` 68` for each byte. Returns where it ends. */
function writeHex(bytes: Buffer, out: Buffer, at: number): number {
  for (const byte of bytes) {
    out[at++] = space
    out[at++] = digits[byte >> 4]!
    out[at++] = digits[byte & 15]!
  }
  return at
}

function textOf(bytes: Buffer): Buffer {
  const out = Buffer.allocUnsafe(bytes.length * 2)
  let at = 0
  for (const byte of bytes) {
    const letter = spelled[byte]
    if (letter !== undefined) out[at++] = 0x5c
    out[at++] = letter ?? (byte === 9 || byte === newline ? byte : inColumn(byte))
  }
  return out.subarray(0, at)
}

/** A row ends after sixteen bytes, and after a line feed. */
function rowsOf(bytes: Buffer): Buffer {
  const out = Buffer.alloc(rowsIn(bytes) * longestRow + 3, ' ')
  let at = 0
  for (const row of eachRow(bytes)) {
    writeHex(row, out, at)
    at += rowLength * 3 + 2
    for (const byte of row) out[at++] = inColumn(byte)
    out[at++] = newline
  }
  return out.subarray(0, at + out.write('--\n', at, 'latin1'))
}

function* eachRow(bytes: Buffer): Generator<Buffer> {
  for (let from = 0; from < bytes.length; ) {
    const most = bytes.subarray(from, from + rowLength)
    const lineEnd = most.indexOf(newline)
    const row = lineEnd < 0 ? most : most.subarray(0, lineEnd + 1)
    yield row
    from += row.length
  }
}

function rowsIn(bytes: Buffer): number {
  let count = 0
  for (const _row of eachRow(bytes)) count++
  return count
}

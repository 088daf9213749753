/** The bytes that telnet gives a meaning of its own, all of them after `iac`. */
export const telnet = {
  subnegotiationEnd: 240,
  break: 243,
  areYouThere: 246,
  subnegotiation: 250,
  will: 251,
  wont: 252,
  do: 253,
  dont: 254,
  iac: 255,
} as const

export type Verb = 'will' | 'wont' | 'do' | 'dont'

/** What telnet options are called here. */
export const telnetOptions = { binary: 0, echo: 1, suppressGoAhead: 3, comPort: 44 } as const

/** Told of what a telnet peer says, in its order. What it is given stays as it is. */
export interface TelnetListener {
  data(bytes: Buffer): void
  /** A command without a parameter: break, are-you-there, and others. */
  command(code: number): void
  option(verb: Verb, option: number): void
  subnegotiation(option: number, payload: Buffer): void
}

export interface TelnetParser {
  take(chunk: Buffer): void
  /** Bytes come as they are. Otherwise a line ends in CR LF, and a CR that stands for itself has a NUL after it. */
  binary: boolean
}

/** Nothing that we know says so much at a time; what is longer is left out. */
export const longestSubnegotiation = 1_024

const { iac } = telnet
const cr = 13
const lf = 10
const nul = 0
const verbs: Readonly<Record<number, Verb>> = {
  [telnet.will]: 'will',
  [telnet.wont]: 'wont',
  [telnet.do]: 'do',
  [telnet.dont]: 'dont',
}

/** Reads telnet, however it is cut into chunks. Data is passed on without being copied where the chunk has it in a row. */
export function telnetParser(listener: TelnetListener): TelnetParser {
  let state: 'data' | 'iac' | 'verb' | 'sub-option' | 'sub' | 'sub-iac' = 'data'
  let verb: Verb = 'will'
  let subOption = 0
  let payload: number[] = []
  let tooLong = false
  let afterCr = false
  /** Of the chunk, what has been found so far and is to be told at once. */
  let pieces: Buffer[] = []

  const tellData = () => {
    if (pieces.length === 0) return
    const bytes = pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces)
    pieces = []
    const plain = parser.binary ? bytes : withoutNuls(bytes)
    if (parser.binary) afterCr = false
    if (plain.length > 0) listener.data(plain)
  }
  const withoutNuls = (bytes: Buffer): Buffer => {
    const isFirst = afterCr && bytes[0] === nul
    afterCr = bytes.at(-1) === cr
    if (!isFirst && !bytes.includes('\r\0', 0, 'latin1')) return bytes
    return bytes.filter((byte, at) => byte !== nul || (at === 0 ? !isFirst : bytes[at - 1] !== cr)) as Buffer
  }
  const collect = (byte: number) => {
    if (payload.length < longestSubnegotiation) payload.push(byte)
    else tooLong = true
  }
  const command = (code: number) => {
    tellData()
    state = 'data'
    if (code in verbs) {
      verb = verbs[code]!
      state = 'verb'
    } else if (code === telnet.subnegotiation) state = 'sub-option'
    else listener.command(code)
  }

  const parser: TelnetParser = {
    binary: false,
    take(chunk) {
      let at = 0
      const dataFrom = (start: number, from: number) => {
        const found = chunk.indexOf(iac, from)
        const end = found < 0 ? chunk.length : found
        if (end > start) pieces.push(chunk.subarray(start, end))
        at = found < 0 ? end : end + 1
        state = found < 0 ? 'data' : 'iac'
      }
      while (at < chunk.length) {
        const byte = chunk[at]!
        switch (state) {
          case 'data':
            dataFrom(at, at)
            break
          case 'iac':
            // Doubled it is a byte like any other, and what follows it may be data too.
            if (byte === iac) dataFrom(at, at + 1)
            else {
              at++
              command(byte)
            }
            break
          case 'verb':
            at++
            state = 'data'
            listener.option(verb, byte)
            break
          case 'sub-option':
            at++
            subOption = byte
            payload = []
            tooLong = false
            state = 'sub'
            break
          case 'sub':
            at++
            if (byte === iac) state = 'sub-iac'
            else collect(byte)
            break
          case 'sub-iac':
            at++
            state = 'sub'
            if (byte === iac) collect(byte)
            else if (byte === telnet.subnegotiationEnd) {
              state = 'data'
              if (!tooLong) listener.subnegotiation(subOption, Buffer.from(payload))
            } else {
              // Its end is missing: what has begun meanwhile is something else.
              command(byte)
            }
        }
      }
      tellData()
    },
  }
  return parser
}

/** As `telnetParser` reads it back: the same bytes where nothing has to be doubled. */
export function escaped(bytes: Buffer): Buffer {
  const first = bytes.indexOf(iac)
  return first < 0 ? bytes : twice(bytes, iac, first, () => iac)
}

/** Of bytes for a peer that has not agreed on binary: a CR that ends no line says so. */
export function lineEndWriter(): (bytes: Buffer) => Buffer {
  let afterCr = false
  return bytes => {
    if (bytes.length === 0) return bytes
    const pending = afterCr && bytes[0] !== lf
    // What follows the last one is not known yet.
    afterCr = bytes.at(-1) === cr
    const whole = pending ? Buffer.concat([Buffer.of(nul), bytes]) : bytes
    const first = whole.indexOf(cr)
    if (first < 0) return whole
    return twice(whole, cr, first, next => (next === undefined || next === lf ? undefined : nul))
  }
}

/** With a byte more after each one that is `byte`, the first of which is at `first`. */
function twice(
  bytes: Buffer,
  byte: number,
  first: number,
  extra: (next: number | undefined) => number | undefined,
): Buffer {
  const result = Buffer.allocUnsafe(bytes.length * 2 - first)
  let length = bytes.copy(result, 0, 0, first)
  for (let at = first; at < bytes.length; at++) {
    result[length++] = bytes[at]!
    const more = bytes[at] === byte ? extra(bytes[at + 1]) : undefined
    if (more !== undefined) result[length++] = more
  }
  return result.subarray(0, length)
}

export function optionBytes(verb: Verb, option: number): Buffer {
  return Buffer.of(iac, telnet[verb], option)
}

export function subnegotiationBytes(option: number, payload: Buffer): Buffer {
  const { subnegotiation, subnegotiationEnd } = telnet
  return Buffer.concat([
    Buffer.of(iac, subnegotiation, option),
    escaped(payload),
    Buffer.of(iac, subnegotiationEnd),
  ])
}

import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  closeSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { openScratch } from '../scratch.ts'

/** Serial lines behind pseudo-terminals, for programs that are started with `env`: see `line.c`. */
export interface FakeLines extends AsyncDisposable {
  readonly env: Record<string, string>
  /** Gives this terminal (`/dev/pts/7`) modem lines, breaks, framing and counters. Once, before it is opened. */
  add(path: string, wires?: Wires): FakeLine
  /** What all programs have asked of the lines, oldest first. */
  log(): readonly LogEntry[]
}

/** Where the control lines lead: nowhere, back to the same terminal, or crossed to another. */
export type Wires = 'nowhere' | 'loopback' | { readonly to: string } | 'none'

export interface LogEntry {
  readonly at: Date
  readonly pid: number
  /** `/dev/pts/7` */
  readonly path: string
  /** `lines dtr=1 rts=0`, `break on`, `framing data=7 …`, `flush rx`, `open`, `close` */
  readonly what: string
}

export interface FakeLine {
  /** What the program has set. */
  readonly dtr: boolean
  readonly rts: boolean
  readonly breaking: boolean
  /** The inputs, where nothing leads to them. */
  input(lines: {
    readonly cts?: boolean
    readonly dsr?: boolean
    readonly ri?: boolean
    readonly dcd?: boolean
  }): void
  count(counts: { readonly [K in (typeof counters)[number]]?: number }): void
  /** It has no higher speed: the next best is taken instead, or it is refused. */
  limit(baud: number, manner: 'next best' | 'refused'): void
  /** So many bytes seem never to be sent. */
  stick(bytes: number): void
}

const fields = [
  ...['size', 'wiring', 'peer', 'control', 'inputs', 'breaking', 'hasFraming', 'framing', 'cflag', 'noModem'],
  ...['frame', 'overrun', 'parity', 'breaks', 'stuck', 'fastest', 'strict'],
] as const
const counters = ['frame', 'overrun', 'parity', 'breaks'] as const
const size = fields.length * 4
const bits = { dtr: 0x2, rts: 0x4, cts: 0x20, dcd: 0x40, ri: 0x80, dsr: 0x100 }

export async function openFakeLines(): Promise<FakeLines> {
  const library = build()
  const scratch = await openScratch()
  const open: number[] = []
  return {
    env: { LD_PRELOAD: library, FLEETCAT_LINES: scratch.path },
    add(path, wires = 'nowhere') {
      const fd = openSync(join(scratch.path, basename(path)), 'w+', 0o600)
      open.push(fd)
      ftruncateSync(fd, size)
      const at = (field: string) => fields.indexOf(field as (typeof fields)[number]) * 4
      const get = (field: string) => {
        const bytes = Buffer.alloc(4)
        readSync(fd, bytes, 0, 4, at(field))
        return bytes.readUInt32LE()
      }
      const put = (field: string, value: number) => {
        const bytes = Buffer.alloc(4)
        bytes.writeUInt32LE(value)
        writeSync(fd, bytes, 0, 4, at(field))
      }
      if (typeof wires === 'object') {
        put('wiring', 2)
        put('peer', Number(basename(wires.to)))
      } else {
        put('wiring', wires === 'loopback' ? 1 : 0)
        put('noModem', wires === 'none' ? 1 : 0)
      }
      put('size', size)
      return {
        get dtr() {
          return (get('control') & bits.dtr) !== 0
        },
        get rts() {
          return (get('control') & bits.rts) !== 0
        },
        get breaking() {
          return get('breaking') !== 0
        },
        input(lines) {
          let inputs = get('inputs')
          for (const [name, on] of Object.entries(lines) as [keyof typeof lines, boolean][]) {
            inputs = on ? inputs | bits[name] : inputs & ~bits[name]
          }
          put('inputs', inputs)
        },
        count(counts) {
          for (const [name, value] of Object.entries(counts)) put(name, value)
        },
        limit(baud, manner) {
          put('fastest', baud)
          put('strict', manner === 'refused' ? 1 : 0)
        },
        stick: bytes => put('stuck', bytes),
      }
    },
    log() {
      let text = ''
      try {
        text = readFileSync(join(scratch.path, 'log'), 'utf8')
      } catch {
        // nobody has asked anything yet
      }
      return text
        .split('\n')
        .filter(Boolean)
        .map(line => {
          const [at, pid, terminal, ...what] = line.split(' ')
          return {
            at: new Date(Number(at) * 1_000),
            pid: Number(pid),
            path: `/dev/${terminal}`,
            what: what.join(' '),
          }
        })
    },
    async [Symbol.asyncDispose]() {
      for (const fd of open) closeSync(fd)
      await scratch[Symbol.asyncDispose]()
    },
  }
}

/** Compiled once for each version of the source. */
function build(): string {
  const source = join(import.meta.dirname, 'line.c')
  const name = createHash('sha256').update(readFileSync(source)).digest('hex').slice(0, 16)
  const folder = join(tmpdir(), `fleetcat-test-lines-${process.getuid?.()}`)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const library = join(folder, `${name}.so`)
  try {
    closeSync(openSync(library, 'r'))
    return library
  } catch {
    const fresh = join(folder, `${name}.${process.pid}.so`)
    const { status, stderr } = spawnSync(
      'cc',
      ['-O1', '-shared', '-fPIC', '-Wall', '-Werror', '-o', fresh, source, '-ldl'],
      { encoding: 'utf8' },
    )
    if (status !== 0) throw new Error(`cc cannot build ${source}: ${stderr}`)
    renameSync(fresh, library)
    return library
  }
}

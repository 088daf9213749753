// What hangs at the far ends of the serial lines: pseudo-terminals, and somebody at each who answers, talks or listens.
// He waits in the kernel and not in the event loop, so that he is not what is measured. All is bounded in time.
import { closeSync, constants, existsSync, openSync, readSync, writeSync } from 'node:fs'
import { loadLibc } from '#relay/native/libc.ts'
import { applyTermios } from '#relay/terminal/apply-termios.ts'
import { openPty } from '#relay/terminal/open-pty.ts'
import { termios } from '#test/resources/terminals.ts'
import { followPattern, type Heard, longestPiece, mark, over, patternAt } from '../pattern.ts'
import { answerQuestions } from '../processes.ts'

/** Lines are known by their paths. */
export type LineQuestion =
  /** So many new lines. Answers their paths. */
  | { readonly do: 'open'; readonly count: number }
  | { readonly do: 'close'; readonly lines: readonly string[] }
  /** Says `mark` on each. */
  | { readonly do: 'mark'; readonly lines: readonly string[] }
  /** Sends back what comes, until `over` does. */
  | { readonly do: 'echo'; readonly line: string }
  /** Says the pattern as fast as it is taken. Answers what was said. */
  | { readonly do: 'source'; readonly line: string; readonly ms: number }
  /** Says the pattern in its time, as a line does, whether it is taken or not. */
  | { readonly do: 'pace'; readonly lines: readonly string[]; readonly pace: Pace; readonly ms: number }
  /** Reads the pattern until it is quiet. */
  | { readonly do: 'sink'; readonly line: string }

/** So many bytes at a time, so often. */
export interface Pace {
  readonly bytes: number
  readonly everyMs: number
}

export interface Paced {
  /** On each line. */
  readonly said: number
  /** On one line, at the worst of times, beside what a pseudo-terminal keeps. */
  readonly mostKept: number
}

const patienceMs = 10_000
const quietMs = 200
const kernelKeeps = 640 * 1_024
const POLLIN = 1
const POLLOUT = 4

interface Line {
  readonly master: number
  /** Keeps the line there while nobody has it open. */
  readonly held: number
}

const lines = new Map<string, Line>()
const libc = await loadLibc('a serial line')
const waiting = Buffer.alloc(8)
const room = Buffer.alloc(64 * 1_024)
const never = new Int32Array(new SharedArrayBuffer(4))

answerQuestions<LineQuestion>(async question => {
  switch (question.do) {
    case 'open':
      return await Promise.all(Array.from({ length: question.count }, openLine))
    case 'close':
      for (const path of question.lines) closeLine(path)
      return
    case 'mark':
      for (const path of question.lines) writeSync(masterOf(path), Uint8Array.of(mark))
      return
    case 'echo':
      return echo(masterOf(question.line))
    case 'source':
      return source(masterOf(question.line), question.ms)
    case 'pace':
      return pace(question.lines.map(masterOf), question.pace, question.ms)
    case 'sink':
      return sink(masterOf(question.line))
  }
})

async function openLine(): Promise<string> {
  const { master, slavePath } = await openPty()
  try {
    // Numbers are used again, and a lock of whoever had it before may still lie about.
    if (existsSync(`/var/lock/LCK..${slavePath.replace('/dev/', '').replace('/', '_')}`))
      return await openLine()
    const held = openSync(slavePath, constants.O_RDWR | constants.O_NOCTTY)
    await applyTermios(held, termios('rawer,b115200'))
    lines.set(slavePath, { master, held })
    return slavePath
  } finally {
    if (!lines.has(slavePath)) closeSync(master)
  }
}

function closeLine(path: string): void {
  const { master, held } = lines.get(path)!
  lines.delete(path)
  closeSync(held)
  closeSync(master)
}

const masterOf = (path: string) => lines.get(path)!.master

/** False: nothing has come of it in that time. */
function waitFor(fd: number, events: number, ms: number): boolean {
  waiting.writeInt32LE(fd, 0)
  waiting.writeInt16LE(events, 4)
  return libc.poll(waiting, 1, ms) > 0
}

function echo(fd: number): void {
  while (waitFor(fd, POLLIN, patienceMs)) {
    const length = readSync(fd, room)
    const end = room.subarray(0, length).indexOf(over)
    writeSync(fd, room, 0, end < 0 ? length : end)
    if (end >= 0) return
  }
}

function source(fd: number, ms: number): number {
  const until = performance.now() + ms
  let said = 0
  while (performance.now() < until && waitFor(fd, POLLOUT, patienceMs)) {
    said += written(fd, patternAt(said, longestPiece))
  }
  return said
}

/**
 * The lines take turns within each interval. Of a real port the kernel keeps so much, of a pseudo-terminal a fiftieth: we keep
 * the rest. What is more is lost, for no line waits; and when we come late we do not make up for it, for no line does.
 */
function pace(fds: readonly number[], { bytes, everyMs }: Pace, ms: number): Paced {
  const stepMs = everyMs / fds.length
  const turns = Math.floor(ms / everyMs)
  const taken = fds.map(() => 0)
  let mostKept = 0
  const give = (at: number, said: number) => {
    const lost = Math.max(0, said - taken[at]! - kernelKeeps)
    taken[at]! += lost
    taken[at]! += written(fds[at]!, patternAt(taken[at]!, Math.min(said - taken[at]!, longestPiece)))
    mostKept = Math.max(mostKept, said - taken[at]!)
  }
  let due = performance.now()
  for (let turn = 1; turn <= turns; turn++) {
    for (const at of fds.keys()) {
      const now = performance.now()
      if (due > now) Atomics.wait(never, 0, 0, due - now)
      else if (now - due > everyMs) due = now
      give(at, turn * bytes)
      due += stepMs
    }
  }
  const said = turns * bytes
  const until = performance.now() + quietMs
  while (taken.some(each => each < said) && performance.now() < until) {
    for (const at of fds.keys()) give(at, said)
    Atomics.wait(never, 0, 0, 1)
  }
  return { said, mostKept }
}

function written(fd: number, bytes: Buffer): number {
  if (bytes.length === 0) return 0
  try {
    return writeSync(fd, bytes)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return 0
    throw error
  }
}

function sink(fd: number): Heard {
  const follower = followPattern()
  let began = 0
  let last = 0
  while (waitFor(fd, POLLIN, began ? quietMs : patienceMs)) {
    follower.take(room.subarray(0, readSync(fd, room)))
    last = performance.now()
    began ||= last
  }
  return { bytes: follower.bytes, breaks: follower.breaks, seconds: (last - began) / 1_000 }
}

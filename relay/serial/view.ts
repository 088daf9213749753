import { Duplex } from 'node:stream'
import { notice } from './notice.ts'
import { endWhenQuiet } from './quiet-end.ts'

export interface ViewOptions {
  /** Bytes that may wait for this reader. */
  readonly limitBytes: number
  /** A reader that is too slow loses bytes, and is told how many; without it `room` tells when it has caught up. */
  readonly mayLose: boolean
  readonly room: () => void
  /** May fleetcat speak among the bytes? */
  readonly notices: boolean
  /** Hears what fleetcat has to say, in place of a notice among the bytes. */
  readonly told?: ((text: string) => void) | undefined
  /** The end of writing, and then so much silence, is the end. Absent: it goes on. */
  readonly endAfterMs?: number | undefined
  /** What it writes. Resolves when it may write more. */
  readonly written: (bytes: Buffer) => Promise<void>
  readonly closed: () => void
}

/** What one of those who share a port sees of it. */
export interface View {
  readonly stream: Duplex
  /** True: it has enough for now. */
  give(bytes: Buffer): boolean
  /** On a line of its own. */
  tell(text: string): void
  /** What is only guessed: never among the bytes, which may be meant as they are. */
  hint(text: string): void
}

const newline = 0x0a

export function openView(options: ViewOptions): View {
  const { limitBytes, mayLose, room, notices, told, endAfterMs, written, closed } = options
  const waiting: Buffer[] = []
  let waitingBytes = 0
  let lost = 0
  let wanted = false
  let atStart = true

  const stream = new Duplex({
    allowHalfOpen: true,
    read() {
      wanted = true
      pour()
    },
    write(chunk: Buffer, _encoding, done) {
      written(chunk).then(() => done(), done)
    },
    final(done) {
      done()
      quiet?.begin()
    },
    destroy(error, done) {
      quiet?.stop()
      waiting.length = 0
      done(error)
    },
  })
  const quiet = endAfterMs === undefined ? undefined : endWhenQuiet(stream, endAfterMs)
  // Between pumps nobody may be listening, and an error that nobody hears ends the process.
  stream.on('error', () => {}).once('close', closed)

  const pour = () => {
    const wasFull = waitingBytes >= limitBytes
    while (wanted && waiting.length > 0 && !stream.readableEnded) {
      const next = waiting.shift()!
      waitingBytes -= next.length
      wanted = stream.push(next)
    }
    if (wanted && lost > 0) reportLoss()
    if (wasFull && waitingBytes < limitBytes) room()
  }
  const enqueue = (bytes: Buffer) => {
    atStart = bytes.at(-1) === newline
    waiting.push(bytes)
    waitingBytes += bytes.length
    pour()
  }
  const reportLoss = () => {
    const text = `${lost} bytes lost`
    lost = 0
    tell(text)
  }
  const tell = (text: string) => {
    if (stream.destroyed || stream.readableEnded) return
    if (told) return told(text)
    if (!notices) return
    enqueue(Buffer.from(`${atStart ? '' : '\r\n'}${notice(text)}\r\n`))
  }

  return {
    stream,
    give(bytes) {
      if (stream.destroyed) return false
      quiet?.heard()
      // Once it has lost something it takes no more before it has caught up: one gap is better than many.
      if (mayLose && (lost > 0 || waitingBytes + bytes.length > limitBytes)) lost += bytes.length
      else enqueue(bytes)
      return waitingBytes >= limitBytes
    },
    tell,
    hint: text => told?.(text),
  }
}

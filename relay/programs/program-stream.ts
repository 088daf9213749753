import { Socket } from 'node:net'
import { Duplex } from 'node:stream'

/** One for all programs: what is read into it is copied out before any other read can begin. */
const shared = Buffer.allocUnsafeSlow(64 * 1024)

/**
 * What a program says, read from `input`, and what it is told, written to `output`; the stream owns both. That a program
 * does not listen, or has gone before it heard all, is no failure: the rest is swallowed, and what it has said is still
 * read to its end. `atEnd`: how it is told that there is no more.
 */
export function programStream(input: number, output: number, atEnd: 'shutdown' | 'close'): Duplex {
  // A program that leaves with something unread shows as a reset. Nothing more is read once the stream has enough, so
  // that comes after all that it has said.
  const callback = (length: number) => stream.push(Buffer.from(shared.subarray(0, length)))
  const onread = { buffer: shared, callback }
  const reader = new Socket({ fd: input, readable: true, writable: false, allowHalfOpen: true, onread })
  const writer = new Socket({ fd: output, readable: false, writable: true, allowHalfOpen: true })
  let over = false
  const ended = () => {
    if (!over) stream.push(null)
    over = true
  }
  const write = (bytes: Buffer, done: () => void) => {
    if (writer.destroyed) done()
    else writer.write(bytes, done)
  }
  const stream = new Duplex({
    allowHalfOpen: true,
    read: () => void reader.resume(),
    write: (chunk: Buffer, _encoding, done) => write(chunk, () => done()),
    writev: (chunks, done) => write(Buffer.concat(chunks.map(({ chunk }) => chunk)), () => done()),
    final(done) {
      if (writer.destroyed) done()
      else if (atEnd === 'shutdown') writer.end(() => done())
      else writer.once('close', () => done()).destroy()
    },
    destroy(error, done) {
      over = true
      const parts = [reader, writer].filter(part => !part.closed)
      let open = parts.length
      if (open === 0) return done(error)
      const closed = () => {
        open--
        if (open === 0) done(error)
      }
      for (const part of parts) part.once('close', closed).destroy()
    },
  })
  reader.on('end', ended).on('close', ended).on('error', ended)
  writer.on('error', () => {})
  return stream
}

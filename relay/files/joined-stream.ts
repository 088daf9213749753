import { Duplex } from 'node:stream'

/**
 * One stream that reads from one and writes to the other; it owns both. Without a reader it never ends by itself;
 * without a writer it swallows what is written. With `endsWriter` false the writer is not told of the end: it belongs to
 * others too.
 */
export function joinedStream(
  reader: Duplex | undefined,
  writer: Duplex | undefined,
  endsWriter = true,
): Duplex {
  const parts = [...new Set([reader, writer])].filter(part => part !== undefined)
  const joined = new Duplex({
    allowHalfOpen: true,
    // What the reader keeps is enough.
    readableHighWaterMark: 1,
    read: () => void reader?.resume(),
    write(chunk: Buffer, _encoding, done) {
      // Not before it has been written: who is not told of the end is not asked then whether all has gone either.
      if (writer) writer.write(chunk, done)
      else done()
    },
    final(done) {
      if (writer && endsWriter) writer.end(done)
      else done()
    },
    destroy(error, done) {
      let open = parts.length
      const closed = () => {
        open--
        if (open === 0) done(error)
      }
      for (const part of parts) {
        if (part.closed) closed()
        else part.once('close', closed).destroy()
      }
    },
  })
  for (const part of parts) {
    part.on('error', error => joined.destroy(error))
  }
  reader
    ?.pause()
    .on('data', (chunk: Buffer) => {
      if (!joined.push(chunk)) reader.pause()
    })
    .on('end', () => joined.push(null))
    .on('close', () => {
      if (!reader.readableEnded) joined.destroy()
    })
  writer?.on('close', () => {
    if (!writer.writableFinished) joined.destroy()
  })
  return joined
}

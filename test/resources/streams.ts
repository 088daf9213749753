import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { Duplex } from 'node:stream'

/** Writes all of it, waiting when told to. */
export async function send(stream: Duplex, chunks: Iterable<Buffer>): Promise<void> {
  for (const chunk of chunks) if (!stream.write(chunk)) await once(stream, 'drain')
}

/** All bytes until the end. Rejects with the stream's error. */
export async function receive(stream: Duplex): Promise<Buffer> {
  const chunks: Buffer[] = []
  stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  await ended(stream)
  return Buffer.concat(chunks)
}

/** The size and the SHA-256 of all bytes until the end. */
export async function digest(stream: Duplex): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash('sha256')
  let bytes = 0
  stream.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    hash.update(chunk)
  })
  await ended(stream)
  return { bytes, sha256: hash.digest('hex') }
}

/** Resolves with the end of what can be read; rejects with the stream's error, or if it closes before its end. */
export function ended(stream: Duplex): Promise<void> {
  return new Promise((resolve, reject) => {
    if (stream.readableEnded) return resolve()
    if (stream.errored) return reject(stream.errored)
    stream.once('end', resolve).once('error', reject)
    stream.once('close', () => reject(new Error('closed before its end')))
    stream.resume()
  })
}

/** The code of the error that the stream fails with. */
export async function failureOf(stream: Duplex): Promise<string> {
  const error = stream.errored ?? ((await once(stream, 'error'))[0] as Error)
  return (error as NodeJS.ErrnoException).code ?? error.message
}

/** Writes until the stream takes no more and stays that way. Returns how many bytes it took. */
export async function writeUntilStalled(
  stream: Duplex,
  limit: number,
  chunk = Buffer.alloc(65_536),
): Promise<number> {
  for (let taken = 0; ; ) {
    taken += chunk.length
    if (stream.write(chunk)) {
      if (taken > limit) return taken
      continue
    }
    if (!(await drained(stream, 100))) return taken
  }
}

async function drained(stream: Duplex, withinMs: number): Promise<boolean> {
  const gaveUp = AbortSignal.timeout(withinMs)
  return once(stream, 'drain', { signal: gaveUp }).then(
    () => true,
    () => false,
  )
}

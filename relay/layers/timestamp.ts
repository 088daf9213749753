import type { Channel } from '../endpoint.ts'

const newline = 0x0a
const lineEnd: Buffer = Buffer.from('\n')

/** Puts the time in front of each line that goes from `client` to `target`, or of each datagram. */
export function timestamps(
  client: Pick<Channel, 'framing'>,
  target: Pick<Channel, 'framing'>,
): (chunk: Buffer) => Buffer {
  if (client.framing === 'stream') return eachLine()
  return target.framing === 'stream' ? datagramLine : chunk => Buffer.concat([stamp(), chunk])
}

/** Where a line begins does not depend on where a chunk does. */
function eachLine(): (chunk: Buffer) => Buffer {
  let atStart = true
  return chunk => {
    const now = stamp()
    const pieces: Buffer[] = []
    for (let from = 0; from < chunk.length; ) {
      if (atStart) pieces.push(now)
      const end = chunk.indexOf(newline, from)
      const to = end < 0 ? chunk.length : end + 1
      pieces.push(chunk.subarray(from, to))
      atStart = end >= 0
      from = to
    }
    return Buffer.concat(pieces)
  }
}

/** In a stream nothing but a line end tells where a datagram ended. */
function datagramLine(datagram: Buffer): Buffer {
  const ends = datagram.at(-1) === newline
  return Buffer.concat(ends ? [stamp(), datagram] : [stamp(), datagram, lineEnd])
}

function stamp(): Buffer {
  return Buffer.from(`${new Date().toISOString()} `)
}

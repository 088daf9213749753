import { pack } from 'tar-stream'
import type { Conversation } from './conversation.ts'
import type { Entry } from './survey.ts'

/** Makes the tar stream of a copy, one entry after the other. */
export interface TarWriter {
  /** An entry with this body; resolves when there is room for more. */
  entry(entry: Entry, body?: Buffer): Promise<void>
  /** A file whose body comes in pieces, `size` bytes in all; the receiver has what is before `from`. */
  file(entry: Entry, size: number, from: number): TarBody
  /** Nothing more; resolves when all is with the other side. */
  end(): Promise<void>
  /** Lets go of it, wherever it is. */
  destroy(): void
}

export interface TarBody {
  write(bytes: Buffer): Promise<void>
  end(): Promise<void>
}

/** In the tar stream: how much of the file the receiver has already. */
export const fromField = 'FLEETCAT.from'

/** Small pieces travel together. */
const parcelBytes = 131_072

export function tarWriter(conversation: Pick<Conversation, 'send'>): TarWriter {
  const tar = pack()
  const shipped = ship(tar as AsyncIterable<Buffer>, conversation)
  // Whoever writes sees it there, or at the end.
  shipped.catch(error => tar.destroy(error))
  tar.on('error', () => {})

  const header = ({ path, type, mode, mtimeMs, link }: Entry, size: number, from: number) => ({
    name: path,
    type,
    size,
    mode,
    // What stands in the old header counts whole seconds of some decades; the time is in `pax`.
    mtime: new Date(0),
    ...(link !== undefined && { linkname: link }),
    pax: { mtime: (mtimeMs / 1_000).toFixed(6), ...(from > 0 && { [fromField]: String(from) }) },
  })

  return {
    entry: (entry, body) =>
      new Promise((resolve, reject) => {
        const done = (error?: Error | null) => (error ? reject(error) : resolve())
        if (body) tar.entry(header(entry, body.length, 0), body, done)
        else tar.entry(header(entry, 0, 0), done)
      }),
    file(entry, size, from) {
      const { promise: over, resolve, reject } = Promise.withResolvers<void>()
      over.catch(() => {})
      const body = tar.entry(header(entry, size, from), error => (error ? reject(error) : resolve()))
      return {
        async write(bytes) {
          if (body.write(bytes)) return
          await Promise.race([new Promise<void>(drained => body.once('drain', () => drained())), over])
        },
        end() {
          body.end(null)
          return over
        },
      }
    },
    async end() {
      tar.finalize()
      await shipped
    },
    destroy: () => void tar.destroy(null),
  }
}

async function ship(tar: AsyncIterable<Buffer>, { send }: Pick<Conversation, 'send'>): Promise<void> {
  let parcel: Buffer[] = []
  let length = 0
  for await (const piece of tar) {
    parcel.push(piece)
    length += piece.length
    if (length < parcelBytes) continue
    const [only] = parcel
    const bytes = parcel.length === 1 && only ? only : Buffer.concat(parcel, length)
    parcel = []
    length = 0
    await send(bytes)
  }
  if (length > 0) await send(Buffer.concat(parcel, length))
}

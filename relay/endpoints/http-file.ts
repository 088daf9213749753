import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { basename, resolve } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { type Address, formatAddress } from '../address.ts'
import type { Channel, EndpointKind, OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { inPlace } from '../files/place.ts'
import { always } from '../option-types.ts'
import { type OptionGroup, readOptions } from '../options.ts'
import { serveHttp } from './http-inside.ts'
import { openInside } from './inside.ts'

const readOnly = {
  name: 'file',
  options: {
    rdonly: always('rdonly', {
      summary: 'only read the file; always on',
      because: 'nothing is ever written to the file',
    }),
  },
} as const satisfies OptionGroup

export const httpFileKinds: readonly EndpointKind[] = [
  {
    keyword: 'HTTP-FILE',
    aliases: [],
    syntax: 'HTTP-FILE:<path>',
    summary: 'one file over HTTP, with its SHA-256; without `fork` done after the first full download',
    groups: [readOnly],
    role: 'target',
    // Who may read the file may serve it: a ceiling's `OPEN:/srv/**,rdonly` covers it.
    covers: ['OPEN'],
    bind(address) {
      readOptions(address, [readOnly])
      const scope = scopeOf(address)
      let delivered = false
      const dial = async (cx: OpenContext) =>
        dialFile(scope, cx, () => {
          delivered = true
        })
      return { address, scope, dialer: { dial }, unfinished: () => !delivered }
    },
  },
]

function scopeOf(address: Address): Address {
  const refuse = (why: string, fix: string) =>
    new RelayError('usage', { what: `address \`${address.text}\``, why, fix })
  const [path = ''] = address.args
  if (address.args.length !== 1 || path === '') {
    const fix = 'Write `HTTP-FILE:<path>`, and a colon that belongs to it as `\\:`'
    throw refuse(`it has ${address.args.length} arguments instead of 1`, fix)
  }
  const at = address.host === undefined ? {} : { host: address.host }
  if (address.host !== undefined && !path.startsWith('/')) {
    throw refuse('a path on another host has no directory to start from', 'Write the whole path, from `/`')
  }
  const named = { keyword: 'HTTP-FILE', args: [resolve(path)] }
  return {
    ...named,
    options: [{ name: 'rdonly', at: 0 }],
    ...at,
    text: formatAddress({ ...named, options: [] }),
  }
}

/** The file is opened first: where it cannot be, the relay's next target has its turn. */
async function dialFile(scope: Address, cx: OpenContext, onDelivered: () => void): Promise<Channel> {
  if (cx.signal.aborted) throw RelayError.from(cx.signal.reason, scope.text)
  cx.egress.check(scope)
  const file = await openFile(scope, cx)
  let sent = false
  let aborted = false
  try {
    const channel = openInside(scope, cx, far =>
      serveHttp(far, async (request, response) => {
        await answer(file, scope, request, response)
        sent ||= request.method === 'GET'
      }),
    )
    return {
      ...channel,
      abort(reason) {
        aborted = true
        channel.abort(reason)
      },
      async [Symbol.asyncDispose]() {
        // Taken to its end and closed without a reset, the file has arrived as far as TCP can tell.
        const taken = channel.stream.readableEnded && !aborted
        await channel[Symbol.asyncDispose]()
        if (sent && taken) onDelivered()
        await file.close()
      },
    }
  } catch (error) {
    await file.close()
    throw error
  }
}

/** Never waits for the writer of a FIFO, and never leaves the place that the ceiling was asked about. */
async function openFile(scope: Address, cx: OpenContext): Promise<FileHandle> {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants
  try {
    const file = await inPlace(scope, cx, ({ name }) => open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK))
    if ((await file.stat()).isFile()) return file
    await file.close()
  } catch (error) {
    throw RelayError.from(error, scope.text)
  }
  throw new RelayError('usage', { what: scope.text, why: 'it is no regular file', fix: 'Name a file' })
}

async function answer(file: FileHandle, scope: Address, request: IncomingMessage, response: ServerResponse) {
  const { size } = await file.stat()
  const promised = await digest(file, size, response)
  const name = encodeURIComponent(basename(scope.args[0]!))
  response.writeHead(200, {
    'content-type': 'application/octet-stream',
    'content-length': size,
    'content-disposition': `attachment; filename*=UTF-8''${name}`,
    'x-checksum-sha256': promised.toString('hex'),
    'repr-digest': `sha-256=:${promised.toString('base64')}:`,
  })
  if (request.method === 'HEAD') return void response.end()
  await pipeline(contents(file, size), pieces => verified(pieces, promised, scope), response)
}

/** Exactly as much as the file had when it was asked for. */
async function* contents(file: FileHandle, size: number): AsyncGenerator<Buffer> {
  if (size > 0) yield* file.createReadStream({ start: 0, end: size - 1, autoClose: false, highWaterMark })
}

const highWaterMark = 262_144

/** Gives up when nobody waits for the answer any more: a large file takes its time. */
async function digest(file: FileHandle, size: number, response: ServerResponse): Promise<Buffer> {
  const hash = createHash('sha256')
  for await (const piece of contents(file, size)) {
    if (response.closed) throw new RelayError('closed', { what: 'the download', why: 'its client has gone' })
    hash.update(piece)
  }
  return hash.digest()
}

/** The last piece waits until it is certain that the whole is what the header promised. */
async function* verified(pieces: AsyncIterable<Buffer>, promised: Buffer, { text }: Address) {
  const hash = createHash('sha256')
  let last: Buffer | undefined
  for await (const piece of pieces) {
    if (last) yield last
    hash.update(piece)
    last = piece
  }
  if (!hash.digest().equals(promised)) {
    const why = 'the file was changed while it was being sent'
    throw new RelayError('conflict', { what: text, why, fix: 'Serve a copy that nobody writes to' })
  }
  if (last) yield last
}

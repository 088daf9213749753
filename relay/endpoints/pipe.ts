import type { Stats } from 'node:fs'
import { type Address, formatAddress } from '../address.ts'
import type { Channel, EndpointKind, OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { fileChannel } from '../files/file-channel.ts'
import { entryOptions, exposure, type FileOptions, openOptions, ruledOptions } from '../files/file-options.ts'
import { openFile } from '../files/open-file.ts'
import { readPath } from '../files/path.ts'
import { checkWays, narrowed, usesOf } from '../files/uses.ts'
import { loadLibc } from '../native/libc.ts'
import { always, flag } from '../option-types.ts'
import { type OptionGroup, readOptions } from '../options.ts'
import { openInside } from './inside.ts'

const { rdonly, wronly, rdwr, nonblock, nofollow, excl } = openOptions.options

const pipeOptions = {
  name: 'pipe',
  options: {
    rdonly,
    wronly,
    rdwr,
    excl: { ...excl, summary: 'fail if it is there already' },
    nofollow,
    nonblock,
    creat: always('creat', {
      summary: 'make it if it is not there; always on',
      because: 'a pipe that is not there is made. Write OPEN for one that has to be there',
    }),
    ...entryOptions.options,
    unlinkClose: flag('unlink-close', {
      summary: 'remove it on closing, if it was made by this address; on unless `unlink-close=0`',
    }),
  },
} as const satisfies OptionGroup

export const pipeKinds: readonly EndpointKind[] = [
  {
    keyword: 'PIPE',
    aliases: ['FIFO'],
    syntax: 'PIPE[:<path>]',
    summary: 'a named pipe, made if it is not there; without a path it sends back what it gets',
    groups: [pipeOptions],
    role: 'both',
    covers: ['OPEN'],
    ruled: ruledOptions,
    bind(address) {
      if (address.args.length === 0) return unnamed(address)
      const options = readOptions(address, [pipeOptions])
      checkWays(address, options)
      const path = readPath(address, 'PIPE:<path>')
      const { unlinkClose = true, ...shown } = options
      const scope = scopeOf(address, [path], { ...shown, creat: true })
      const dial = (cx: OpenContext) => dialPipe(scope, { ...shown, creat: true }, unlinkClose, cx)
      return { address, scope, dialer: { dial } }
    },
  },
]

/** Bytes come back at the pace at which they are read, whatever a pipe of the kernel would hold. */
function unnamed(address: Address) {
  readOptions(address, [])
  const scope = scopeOf(address, [], {})
  const dial = async (cx: OpenContext) => openInside(scope, cx, ({ stream }) => void stream.pipe(stream))
  return { address, scope, dialer: { dial } }
}

function scopeOf({ host }: Address, args: readonly string[], options: FileOptions): Address {
  const text = formatAddress({ keyword: 'PIPE', args, options: [] })
  return { keyword: 'PIPE', args, options: exposure(options), text, ...(host !== undefined && { host }) }
}

async function dialPipe(
  scope: Address,
  options: FileOptions,
  unlinkClose: boolean,
  cx: OpenContext,
): Promise<Channel> {
  const uses = narrowed(usesOf(options), cx, scope.text)
  const make = async (name: string, mode: number) => {
    const libc = await loadLibc(scope.text)
    libc.mkfifo(Buffer.from(`${name}\0`), mode)
  }
  const check = (stats: Stats) => {
    if (!stats.isFIFO()) throw noPipe(scope)
  }
  const found = await openFile({ scope, options, ...uses, make, check }, cx)
  if ('socket' in found) throw noPipe(scope)
  return fileChannel(
    found,
    { text: scope.text },
    { uses, termios: {}, unlinkClose: unlinkClose && found.isNew },
    cx,
  )
}

function noPipe({ text }: Address): RelayError {
  const fix = 'Write OPEN for what is there, or choose another path'
  return new RelayError('conflict', { what: text, why: 'something that is no pipe is there', fix })
}

import { resolve } from 'node:path'
import { type Address, addressError } from '../address.ts'
import type { Channel } from '../endpoint.ts'
import { always, flag, integer, refused, valued } from '../option-types.ts'
import { type OptionGroup, type OptionValues, readOptions } from '../options.ts'
import { exchanged, withCr, withoutCr } from './line-ends.ts'
import { type LastRead, type Stages, through } from './through.ts'

const noIoctl = 'Node has no call for it. Set it with a program of the host, e.g. `stty`'
const cygwin = 'it is for Cygwin only. Leave it out'

const lock = (name: string, help: { readonly summary: string }) =>
  valued<string>(name, help, '<file>', '/run/lock/NAME', text => ({ value: resolve(text) }))

/** What every kind of address has, for it is about the bytes and not about what carries them. */
export const streamOptions = {
  name: 'stream',
  options: {
    ignoreeof: flag('ignoreeof', {
      aliases: ['ignoreof'],
      summary: 'its end counts only when the other side has ended too',
    }),
    readbytes: integer('readbytes', {
      aliases: ['bytes'],
      summary: 'read so many bytes from it and no more; then it counts as ended',
      min: 1,
      max: 999_999_999_999_999,
    }),
    escape: integer('escape', {
      summary: 'the code of a character; when it is read from there, it counts as ended before it',
      min: 0,
      max: 255,
    }),
    cr: flag('cr', { summary: 'its lines end in CR; on the other side of the relay they end in NL' }),
    crnl: flag('crnl', {
      aliases: ['crlf'],
      summary: 'its lines end in CR and NL; on the other side of the relay they end in NL',
    }),
    nullEof: flag('null-eof', { summary: 'an empty datagram counts as its end' }),
    shutNone: flag('shut-none', { summary: 'it is not told that the other side has ended' }),
    shutDown: flag('shut-down', { summary: 'its writing ends when the other side has ended; the default' }),
    shutClose: flag('shut-close', { summary: 'it is closed, both ways, when the other side has ended' }),
    shutNull: flag('shut-null', { summary: 'it is sent an empty datagram when the other side has ended' }),
    lockfile: lock('lockfile', {
      summary: 'a file that is there while it is open; if it is there already, it cannot be opened',
    }),
    waitlock: lock('waitlock', { summary: 'the same, but wait until the file is gone' }),
    endClose: always('end-close', {
      aliases: ['close'],
      summary: 'at the end it is just closed; always so',
      because: 'no other way of ending it is known here',
    }),
    coolWrite: always('cool-write', {
      aliases: ['coolwrite'],
      summary: 'that a peer has gone is no mistake of the relay; always so',
      because: 'a peer that has gone is never a mistake of the relay',
    }),
    nonblock: always('nonblock', {
      aliases: ['o-nonblock'],
      summary: 'nothing waits for it; always so',
      because: 'Node opens all descriptors like that',
    }),
    cloexec: always('cloexec', {
      summary: 'programs that the relay starts do not get its descriptor; always so',
      because: 'programs would keep the connections of others open',
    }),
    binary: refused('binary', {
      aliases: ['bin', 'o-binary'],
      summary: 'no line ends of DOS',
      because: cygwin,
    }),
    text: refused('text', { aliases: ['o-text'], summary: 'line ends of DOS', because: cygwin }),
    noinherit: refused('noinherit', {
      aliases: ['o-noinherit'],
      summary: 'not for started programs',
      because: cygwin,
    }),
    ioctl: refused('ioctl-void', {
      aliases: ['ioctl', 'ioctl-int', 'ioctl-intp', 'ioctl-bin', 'ioctl-string'],
      summary: 'any ioctl',
      because: noIoctl,
    }),
  },
} as const satisfies OptionGroup

export type StreamOptions = OptionValues<readonly [typeof streamOptions]>

/** What an address says of its bytes. Throws a RelayError when it contradicts itself. */
export function readStreamOptions(address: Address): StreamOptions {
  const options = readOptions(address, [streamOptions])
  refuseBoth(address, ['cr', 'crnl', 'crlf'])
  refuseBoth(address, ['lockfile', 'waitlock'])
  refuseBoth(address, ['shut-none', 'shut-down', 'shut-close', 'shut-null'])
  return options
}

function refuseBoth({ text, options }: Address, names: readonly string[]): void {
  const [first, second] = options.filter(({ name, value }) => names.includes(name) && value !== '0')
  if (first && second) {
    const why = `\`${first.name}\` and \`${second.name}\` contradict each other`
    throw addressError(text, second.at, { why, fix: 'Keep one of them' })
  }
}

/** Does what the options say to the channels of one address; undefined if they leave its bytes alone. */
export function streamLayer(options: StreamOptions): ((inner: Channel) => Channel) | undefined {
  const { ignoreeof, cr, crnl, readbytes, nullEof } = options
  const atEnd = options.shutNone
    ? 'nothing'
    : options.shutClose
      ? 'close'
      : options.shutNull
        ? 'empty-datagram'
        : undefined
  const readsAsWritten = !cr && !crnl && readbytes === undefined && options.escape === undefined && !nullEof
  if (readsAsWritten && !ignoreeof && !atEnd) return undefined
  return inner => {
    const isDatagram = inner.framing === 'datagram'
    const stages: Stages = {
      ...(!readsAsWritten && { read: reader(options, isDatagram) }),
      ...(cr && { write: exchanged('nl', 'cr') }),
      ...(crnl && { write: withCr }),
      ...(ignoreeof && { endsLast: true }),
      ...(atEnd && { atEnd }),
    }
    return through(inner, stages)
  }
}

/** The limits count the bytes as they come, before line ends are exchanged, as socat's do. */
function reader({ readbytes, escape: character, cr, crnl, nullEof }: StreamOptions, isDatagram: boolean) {
  const lines = cr ? exchanged('cr', 'nl') : crnl ? withoutCr : undefined
  let left = readbytes ?? Infinity
  return (chunk: Buffer): Buffer | LastRead => {
    if (chunk.length === 0 && nullEof && isDatagram) return { last: chunk }
    const limited = chunk.length > left ? chunk.subarray(0, left) : chunk
    left -= limited.length
    const at = character === undefined ? -1 : limited.indexOf(character)
    const kept = at < 0 ? limited : limited.subarray(0, at)
    const bytes = lines ? lines(kept) : kept
    return at >= 0 || left === 0 ? { last: bytes } : bytes
  }
}

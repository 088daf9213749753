import { closeSync } from 'node:fs'
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Channel, OpenContext, Peer } from '../endpoint.ts'
import { nearlyFullAt } from '../endpoints/sockets.ts'
import { RelayError } from '../errors.ts'
import { through } from '../layers/through.ts'
import { useAsFile } from '../serial/as-file.ts'
import { heldPort, holderOf, inUse } from '../serial/locks.ts'
import { applyTermios, type TermiosOptions } from '../terminal/apply-termios.ts'
import { terminalStream } from '../terminal/terminal-stream.ts'
import { kindOfDescriptor, plainChannel, type Uses } from './descriptor.ts'
import { FileStream } from './file-stream.ts'
import { joinedStream } from './joined-stream.ts'
import type { OpenFile } from './open-file.ts'

export interface FileChannelOptions {
  readonly uses: Uses
  readonly termios: TermiosOptions
  readonly unlinkClose: boolean
  /** At its end more is waited for. */
  readonly follows?: boolean | undefined
}

/** The channel of a file that was just opened. It takes the descriptor over, and closes it when it rejects. */
export async function fileChannel(
  file: OpenFile,
  peer: Peer,
  options: FileChannelOptions,
  cx: OpenContext,
): Promise<Channel> {
  const { uses, termios, unlinkClose, follows } = options
  let use: Disposable | undefined
  try {
    if (nearlyFullAt(file.fd, 'all')) throw noDescriptors(peer)
    checkNoPort(file, peer)
    use = useOf(file, cx.client?.text ?? 'this relay', peer)
    await applyTermios(file.fd, termios, peer.text)
  } catch (error) {
    use?.[Symbol.dispose]()
    closeSync(file.fd)
    throw error
  }
  const stream = await streamOf(file.fd, options, () => cx.turnedAway?.('disk-full', peer))
  stream.once('close', () => use?.[Symbol.dispose]())
  const plain = plainChannel(stream, peer, uses)
  const channel = follows && !(stream instanceof FileStream) ? through(plain, { endsLast: true }) : plain
  if (!unlinkClose) return channel
  return {
    ...channel,
    async [Symbol.asyncDispose]() {
      await channel[Symbol.asyncDispose]()
      await file.unlink()
    },
  }
}

async function streamOf(
  fd: number,
  { uses: { reads, writes }, follows }: FileChannelOptions,
  lost: () => void,
): Promise<Duplex> {
  const both = (stream: Duplex) =>
    reads && writes ? stream : joinedStream(reads ? stream : undefined, writes ? stream : undefined)
  switch (kindOfDescriptor(fd)) {
    case 'terminal':
      return both(await terminalStream(fd))
    case 'stream':
      return both(new Socket({ fd, readable: reads, writable: writes, allowHalfOpen: true }))
    default:
      return new FileStream(fd, { reads, writes, follows, owned: true, lost })
  }
}

/** A serial port that somebody has open by its own kind of address would lose its settings, and bytes. */
function checkNoPort({ stats }: OpenFile, { text }: Peer): void {
  const other = stats.isCharacterDevice() ? heldPort(stats.rdev) : undefined
  if (other) throw inUse(text, holderOf(other, ''))
}

/** Nor shall its kind of address set a terminal otherwise that somebody has as a file. */
function useOf({ fd, stats }: OpenFile, holder: string, { text }: Peer): Disposable | undefined {
  return kindOfDescriptor(fd) === 'terminal' ? useAsFile(stats.rdev, { holder, path: text }) : undefined
}

function noDescriptors({ text }: Peer): RelayError {
  const why = 'this process has hardly any free file descriptors left'
  return new RelayError('exhausted', { what: text, why, fix: 'Raise `ulimit -n`' })
}

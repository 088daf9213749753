import { closeSync } from 'node:fs'
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Channel, OpenContext, Peer } from '../endpoint.ts'
import { nearlyFullAt } from '../endpoints/sockets.ts'
import { RelayError } from '../errors.ts'
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
}

/** The channel of a file that was just opened. It takes the descriptor over, and closes it when it rejects. */
export async function fileChannel(
  file: OpenFile,
  peer: Peer,
  { uses, termios, unlinkClose }: FileChannelOptions,
  cx: OpenContext,
): Promise<Channel> {
  try {
    if (nearlyFullAt(file.fd, 'all')) throw noDescriptors(peer)
    await applyTermios(file.fd, termios, peer.text)
  } catch (error) {
    closeSync(file.fd)
    throw error
  }
  const channel = plainChannel(await streamOf(file.fd, uses, peer, cx), peer, uses)
  if (!unlinkClose) return channel
  return {
    ...channel,
    async [Symbol.asyncDispose]() {
      await channel[Symbol.asyncDispose]()
      await file.unlink()
    },
  }
}

async function streamOf(fd: number, { reads, writes }: Uses, peer: Peer, cx: OpenContext): Promise<Duplex> {
  const both = (stream: Duplex) =>
    reads && writes ? stream : joinedStream(reads ? stream : undefined, writes ? stream : undefined)
  switch (kindOfDescriptor(fd)) {
    case 'terminal':
      return both(await terminalStream(fd))
    case 'stream':
      return both(new Socket({ fd, readable: reads, writable: writes, allowHalfOpen: true }))
    default:
      return new FileStream(fd, {
        reads,
        writes,
        owned: true,
        lost: () => cx.turnedAway?.('disk-full', peer),
      })
  }
}

function noDescriptors({ text }: Peer): RelayError {
  const why = 'this process has hardly any free file descriptors left'
  return new RelayError('exhausted', { what: text, why, fix: 'Raise `ulimit -n`' })
}

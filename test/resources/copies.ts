import { createHash } from 'node:crypto'
import { link, lstat, mkdir, readdir, readFile, readlink, symlink, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Piece } from '#relay/copy/frames.ts'
import { type Done, joinCopy, type Side } from '#relay/copy/join.ts'
import type { Message, Refused } from '#relay/copy/messages.ts'
import { ownEgress } from '#relay/egress.ts'
import type { Channel, EgressPolicy } from '#relay/endpoint.ts'
import { bindAddress } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'
import { openContext } from './contexts.ts'

export interface Copying {
  /** Of the side that receives: `exact`, `resume` and others. */
  readonly options?: string
  readonly from?: EgressPolicy
  readonly to?: EgressPolicy
  /** It is cut when so many bytes of its tar stream have passed. */
  readonly cutAt?: number
  readonly heard?: (side: Side, piece: Piece) => void
}

export interface Copied {
  readonly done: Done
  readonly refused: readonly Refused[]
  readonly messages: readonly Message[]
  /** Of the tar stream. */
  readonly bytes: number
}

export const dialSide = (address: string, egress: EgressPolicy = ownEgress): Promise<Channel> =>
  bindAddress(address).dialer!.dial(openContext({ egress }))

export const escaped = (path: string) => path.replace(/[\\:,\n"'([{!]/g, '\\$&').replace(/\\\n/g, '\\n')

/** Copies by the two kinds of addresses, joined as the command line joins them. */
export async function copy(source: string, target: string, copying: Copying = {}): Promise<Copied> {
  const { options, from, to } = copying
  await using sender = await dialSide(`SEND:${escaped(source)}`, from)
  const receiving = `RECEIVE:${escaped(target)}${options ? `,${options}` : ''}`
  await using receiver = await dialSide(receiving, to)
  return await joined(sender, receiver, copying)
}

/** The same for two sides that are open already. */
export async function joined(
  sender: Channel,
  receiver: Channel,
  { cutAt = Infinity, heard }: Copying = {},
): Promise<Copied> {
  const messages: Message[] = []
  let bytes = 0
  const cut = new AbortController()
  const done = await joinCopy(sender, receiver, {
    signal: cut.signal,
    heard(side, piece) {
      heard?.(side, piece)
      if ('message' in piece) messages.push(piece.message)
      else {
        bytes += piece.data.length
        const why = 'the test says so'
        if (bytes >= cutAt) cut.abort(new RelayError('revoked', { what: 'the tunnel', why }))
      }
    },
  })
  const refused = messages.flatMap(message => (message.is === 'refused' ? message.entries : []))
  return { done, refused, messages, bytes }
}

/** All that a copy keeps of what is below a path. Files with the same inode have the same letter. */
export async function snapshot(root: string): Promise<Record<string, string>> {
  const seen: Record<string, string> = {}
  const inodes = new Map<number, string>()
  async function look(path: string): Promise<void> {
    const stats = await lstat(join(root, path))
    const mode = (stats.mode & 0o7777).toString(8)
    const time = Math.round(stats.mtimeMs)
    if (stats.isSymbolicLink()) seen[path] = `link to ${await readlink(join(root, path))} ${time}`
    else if (stats.isDirectory()) {
      seen[path] = `directory ${mode} ${time}`
      for (const name of (await readdir(join(root, path))).sort()) await look(join(path, name))
    } else if (stats.isFile()) {
      const first = inodes.get(stats.ino)
      inodes.set(stats.ino, first ?? path)
      const sum = sha256(await readFile(join(root, path)))
      seen[path] = first && stats.nlink > 1 ? `same as ${first}` : `file ${mode} ${time} ${sum}`
    } else seen[path] = 'special'
  }
  await look('.')
  return seen
}

export const sha256 = (bytes: Buffer | string): string => createHash('sha256').update(bytes).digest('hex')

/** A directory with some of everything that is copied. */
export async function makeTree(root: string, bytes: (size: number) => Buffer): Promise<void> {
  await mkdir(join(root, 'sub/deeper'), { recursive: true })
  await mkdir(join(root, 'empty'), { mode: 0o750 })
  await writeFile(join(root, 'a.txt'), 'alpha', { mode: 0o640 })
  await writeFile(join(root, 'nothing'), '')
  await writeFile(join(root, 'sub/run'), '#!/bin/sh\n', { mode: 0o755 })
  await writeFile(join(root, 'sub/large'), bytes(3_000_017), { mode: 0o600 })
  await writeFile(join(root, 'sub/deeper/odd\nname \\ "ü'), bytes(70_001))
  await writeFile(join(root, 'sub.txt'), 'between sub and sub/')
  await symlink('sub/large', join(root, 'link'))
  await symlink('/nowhere/at/all', join(root, 'sub/dangling'))
  await link(join(root, 'sub/run'), join(root, 'sub/the-same'))
  await utimes(join(root, 'a.txt'), 1_500_000_000.25, 1_400_000_000.125)
  await utimes(join(root, 'empty'), 1_500_000_000, 1_300_000_000)
}

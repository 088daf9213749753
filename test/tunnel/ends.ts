import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { type Authority, createAuthority } from '#identity/ca.ts'
import type { TlsIdentity } from '#identity/tls.ts'
import { answeringLineLength, newTicket, type Ticket, ticketInLine } from '#tunnel/ticket.ts'
import { issued } from '../identity/fixtures.ts'

export interface Fleet {
  readonly authority: Authority
  readonly a: TlsIdentity
  readonly b: TlsIdentity
}

export async function openIdentities(): Promise<Fleet> {
  const authority = await createAuthority({ cluster: 'prod' })
  const [a, b] = [await issued(authority, 'agent', 'a'), await issued(authority, 'agent', 'b')]
  return { authority, a, b }
}

/** What stands between the ends, in place of a controller: it joins whoever comes, and reads along. */
export interface Joiner extends AsyncDisposable {
  readonly place: { host: string; port: number }
  /** All that went through, both ways. */
  readonly seen: () => Buffer
  readonly legs: readonly Ticket[]
}

export async function openJoiner(): Promise<Joiner> {
  const sockets = new Set<Socket>()
  const chunks: Buffer[] = []
  const legs: Ticket[] = []
  const waiting: { answering?: Socket; initiator?: Socket } = {}
  const join = () => {
    const { answering, initiator } = waiting
    if (!answering || !initiator) return
    delete waiting.answering
    delete waiting.initiator
    for (const [from, to] of [
      [answering, initiator],
      [initiator, answering],
    ] as const) {
      from.on('data', (chunk: Buffer) => void chunks.push(chunk))
      from.pipe(to)
      from.once('close', () => to.destroy())
    }
  }
  const server = createServer(socket => {
    sockets.add(socket)
    socket.on('error', () => {}).once('close', () => sockets.delete(socket))
    socket.once('readable', () => {
      const first: Buffer | null = socket.read()
      if (!first) return void socket.destroy()
      if (first[0] === 'F'.charCodeAt(0)) {
        legs.push(ticketInLine(first.subarray(0, answeringLineLength).toString()))
        waiting.answering = socket
      } else {
        socket.unshift(first)
        waiting.initiator = socket
      }
      join()
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    place: { host: '127.0.0.1', port: (server.address() as { port: number }).port },
    seen: () => Buffer.concat(chunks),
    legs,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

export const grantTo = (name: string, straight: { host: string; port: number }[] = []) => ({
  tunnelId: 't-1',
  ticket: newTicket(),
  peer: { kind: 'agent' as const, name },
  straight,
})

export async function plainGuest(port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1' })
  socket.on('error', () => {})
  await once(socket, 'connect')
  return socket
}

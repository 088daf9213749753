import { execFile } from 'node:child_process'
import { createHash, type KeyObject } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import tls, { type ConnectionOptions, type TLSSocket, type TlsOptions } from 'node:tls'
import { promisify } from 'node:util'
import fc from 'fast-check'
import type { Authority, CertificateOrder } from '#identity/ca.ts'
import { generateKey, keyToPem, publicHalf } from '#identity/keys.ts'
import type { Kind } from '#identity/name.ts'
import type { TlsIdentity } from '#identity/tls.ts'

export interface TemporaryDirectory extends AsyncDisposable {
  readonly path: string
  file(name: string, content: string | Buffer): Promise<string>
}

export async function temporaryDirectory(): Promise<TemporaryDirectory> {
  const path = await mkdtemp(join(tmpdir(), 'fleetcat-identity-'))
  return {
    path,
    async file(name, content) {
      await writeFile(join(path, name), content)
      return join(path, name)
    },
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  }
}

/** Runs the openssl program, a reader of certificates that shares no code with ours. Rejects when it does. */
export async function openssl(...args: string[]): Promise<string> {
  const running = promisify(execFile)('openssl', args)
  running.child.stdin?.end()
  const { stdout } = await running
  return stdout
}

export async function issued(
  authority: Authority,
  kind: Kind,
  name: string,
  order: Partial<CertificateOrder> = {},
): Promise<TlsIdentity & { privateKey: KeyObject }> {
  const privateKey = await generateKey()
  const cert = await authority.issue({
    kind,
    name,
    publicKey: publicHalf(privateKey),
    lifetimeMs: 3_600_000,
    ...order,
  })
  return { privateKey, key: keyToPem(privateKey), cert, ca: authority.certificatePem }
}

export interface TlsServer extends AsyncDisposable {
  readonly port: number
  /** The server's side of the next connection that finishes its handshake. */
  accepted(): Promise<TLSSocket>
}

export async function listen(options: TlsOptions): Promise<TlsServer> {
  const sockets = new Set<TLSSocket>()
  const waiting: TLSSocket[] = []
  const server = tls.createServer(options, socket => {
    sockets.add(socket)
    waiting.push(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
    socket.write('hello')
    server.emit('taken')
  })
  server.on('tlsClientError', () => {})
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    async accepted() {
      while (waiting.length === 0) await once(server, 'taken')
      return waiting.shift() as TLSSocket
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

export interface Dialled extends AsyncDisposable {
  readonly socket: TLSSocket
  /** Every session that the server offered for resumption. */
  readonly sessions: Buffer[]
}

/** Connects and reads the server's greeting, which in TLS 1.3 comes only after the server has judged the client. */
export async function dial(port: number, options: ConnectionOptions): Promise<Dialled> {
  const socket = tls.connect({ ...options, host: '127.0.0.1', port })
  const sessions: Buffer[] = []
  socket.on('session', session => sessions.push(session))
  const dispose = async () => {
    if (socket.closed) return
    socket.destroy()
    await once(socket, 'close')
  }
  try {
    await once(socket, 'data')
  } catch (error) {
    await dispose()
    throw error
  }
  return { socket, sessions, [Symbol.asyncDispose]: dispose }
}

export const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')

/** What a promise rejects with; fails when it does not reject. */
export async function failureOf(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise
  } catch (error) {
    return error as Error
  }
  throw new Error('it was expected to fail')
}

/** Any text at all: control characters, right-to-left marks and halves of surrogate pairs too. */
export const anyText = fc
  .array(fc.oneof(fc.nat(0xff), fc.nat(0xffff)), { maxLength: 200 })
  .map(units => String.fromCharCode(...units))

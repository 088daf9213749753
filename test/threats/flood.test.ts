import { fork } from 'node:child_process'
import { once } from 'node:events'
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type OutgoingHttpHeaders,
} from 'node:http2'
import { connect as connectTls } from 'node:tls'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { clientOptions, type TlsIdentity } from '#identity/tls.ts'
import { create, draft } from '#test/resources/drafts.ts'
import { joinAgent, openAdmin, type TestController } from '#test/resources/fleet.ts'
import { openScratch } from '#test/resources/scratch.ts'
import type { AgentStream, ScriptedAgent } from '#test/resources/scripted-agent.ts'

interface ControllerProcess extends Pick<TestController, 'address' | 'port' | 'admin'>, AsyncDisposable {
  /** Resident memory of its process, after a collection. */
  rss(): Promise<number>
}

async function openControllerProcess(): Promise<ControllerProcess> {
  const scratch = await openScratch()
  const script = new URL('./controller-process.ts', import.meta.url).pathname
  const child = fork(script, [scratch.path], {
    execArgv: ['--expose-gc', '--disable-warning=ExperimentalWarning'],
    serialization: 'advanced',
  })
  const died = once(child, 'exit').then(([code]) => {
    throw new Error(`the controller's process has ended with ${code}`)
  })
  died.catch(() => {})
  const [{ address }] = (await Promise.race([once(child, 'message'), died])) as [{ address: string }]
  async function ask<T>(message: object): Promise<T> {
    child.send(message)
    return (await Promise.race([once(child, 'message'), died]))[0] as T
  }
  const admin = await openAdmin(address, csr => ask({ csr }))
  return {
    address,
    port: Number(address.split(':')[1]),
    admin,
    rss: async () => (await ask<{ rss: number }>({ memory: true })).rss,
    async [Symbol.asyncDispose]() {
      admin[Symbol.dispose]()
      const exited = once(child, 'exit')
      child.disconnect()
      await exited
      await scratch[Symbol.asyncDispose]()
    },
  }
}

let controller: ControllerProcess
let attacker: ScriptedAgent
let honest: AgentStream
beforeAll(async () => {
  controller = await openControllerProcess()
  attacker = await joinAgent(controller, { name: 'attacker' })
  honest = await (await joinAgent(controller, { name: 'edge-1' })).settle()
})
afterAll(async () => {
  await honest[Symbol.asyncDispose]()
  await controller[Symbol.asyncDispose]()
})

type Session = ClientHttp2Session & AsyncDisposable

/** HTTP/2 without any manners of gRPC. */
function openSession(identity: TlsIdentity | Pick<TlsIdentity, 'ca'>): Session {
  const { port } = controller
  const socket = connectTls({ port, host: '127.0.0.1', ...clientOptions(identity) })
  const session = connect('https://controller.fleetcat', {
    createConnection: () => socket,
    maxSendHeaderBlockLength: 2 ** 24,
    peerMaxConcurrentStreams: 2 ** 20,
  })
  session.on('error', () => {})
  const closed = new Promise<void>(resolve => session.once('close', () => resolve()))
  return Object.assign(session, {
    async [Symbol.asyncDispose]() {
      session.destroy()
      // When the controller has cut it, a session with words left to say would wait for ever.
      socket.destroy()
      await closed
    },
  })
}

const attach = '/fleetcat.v1.AgentService/Attach'
const enroll = '/fleetcat.v1.EnrollmentService/Enroll'

function request(session: Session, path: string, more: OutgoingHttpHeaders = {}): ClientHttp2Stream {
  const stream = session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...more,
  })
  stream.on('error', () => {})
  return stream
}

/** The gRPC status, or nothing when the stream was cut without one. */
async function statusOf(stream: ClientHttp2Stream): Promise<number | undefined> {
  let status: number | undefined
  const note = (headers: { 'grpc-status'?: unknown }) => {
    if (headers['grpc-status'] !== undefined) status = Number(headers['grpc-status'])
  }
  stream.on('response', note)
  stream.on('trailers', note)
  stream.resume()
  // Our own half may still be open.
  if (!stream.closed) await new Promise<void>(resolve => stream.once('end', resolve).once('close', resolve))
  return status
}

function frame(payload: Buffer, { compressed = 0, length = payload.length } = {}): Buffer {
  const head = Buffer.alloc(5)
  head.writeUInt8(compressed)
  head.writeUInt32BE(length, 1)
  return Buffer.concat([head, payload])
}

const resourceExhausted = 8

const attacks: Record<
  string,
  (identity: TlsIdentity | Pick<TlsIdentity, 'ca'>, path: string) => Promise<void>
> = {
  async 'streams that are reset as soon as they are opened'(identity, path) {
    for (let round = 0; round < 3; round++) {
      await using session = openSession(identity)
      await once(session, 'connect')
      // About a thousand are what Node's own defence lets one session have.
      for (let i = 0; i < 2_000 && !session.destroyed && !session.closed; i++) {
        request(session, path).close(constants.NGHTTP2_CANCEL)
        if (i % 100 === 0) await new Promise(resolve => setImmediate(resolve))
      }
    }
  },
  async 'streams that never end'(identity, path) {
    await using session = openSession(identity)
    await once(session, 'connect')
    for (let i = 0; i < 5_000 && !session.destroyed; i++) {
      request(session, path).write(frame(Buffer.alloc(1_000), { length: 2_000 }))
      if (i % 100 === 0) await new Promise(resolve => setImmediate(resolve))
    }
  },
  async 'bombs of gzip'(identity, path) {
    const bomb = frame(gzipSync(Buffer.alloc(64 * 2 ** 20)), { compressed: 1 })
    await using session = openSession(identity)
    for (let i = 0; i < 20; i++) {
      const stream = request(session, path, { 'grpc-encoding': 'gzip' })
      stream.end(bomb)
      expect(await statusOf(stream)).toBe(resourceExhausted)
    }
  },
  async 'messages that are larger than any'(identity, path) {
    for (let i = 0; i < 5; i++) {
      await using session = openSession(identity)
      const stream = request(session, path)
      stream.write(frame(Buffer.alloc(2 ** 20), { length: 0x7fff_ffff }))
      expect(await statusOf(stream)).toBe(resourceExhausted)
    }
  },
  async 'headers of a megabyte'(identity, path) {
    for (let i = 0; i < 10; i++) {
      await using session = openSession(identity)
      expect(await statusOf(request(session, path, { 'x-long': 'x'.repeat(2 ** 20) }))).not.toBe(0)
    }
  },
  async 'headers by the thousand'(identity, path) {
    const many = Object.fromEntries(Array.from({ length: 2_000 }, (_, i) => [`x-${i}`, 'x'.repeat(20)]))
    for (let i = 0; i < 10; i++) {
      await using session = openSession(identity)
      expect(await statusOf(request(session, path, many))).not.toBe(0)
    }
  },
}

// An attacker and its victim at full speed have only what a busy machine leaves them.
describe.each(['an enrolled agent', 'a stranger'])('of %s', { timeout: 60_000 }, peer => {
  test.each(Object.keys(attacks))('%s leave the memory and the others as they were', async name => {
    const identity = peer === 'a stranger' ? { ca: attacker.identity.ca } : attacker.identity
    const path = peer === 'a stranger' ? enroll : attach
    const attack = attacks[name]!
    // What a process has once grown to it keeps: it is the second and third time that must add nothing.
    for (let i = 0; i < 2; i++) await attack(identity, path)
    const before = await controller.rss()
    await attack(identity, path)

    const began = performance.now()
    await create(controller, draft(`after-${Date.now()}`))
    await honest.hear('apply')
    const ms = Math.round(performance.now() - began)
    const grown = Math.round(((await controller.rss()) - before) / 2 ** 20)
    console.log(`${name} of ${peer}: ${grown} MiB more, and another agent heard an order in ${ms} ms`)
    expect(grown).toBeLessThan(64)
    expect(ms).toBeLessThan(2_000)
  })
})

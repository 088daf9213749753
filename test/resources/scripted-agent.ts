import { randomUUID } from 'node:crypto'
import type { ServiceError } from '@grpc/grpc-js'
import {
  AgentServiceClient,
  type AttachRequest,
  type AttachResponse,
  Hello,
  type SendDumpRequest,
} from '#gen/fleetcat/v1/agent.ts'
import { DumpFrame } from '#gen/fleetcat/v1/relay.ts'
import { clientOptions, type TlsIdentity } from '#identity/tls.ts'
import type { RelayError } from '#relay/errors.ts'
import { channelCredentials, channelOptions } from '#wire/channel.ts'
import { toProblem } from '#wire/problem.ts'
import { fromStatus } from '#wire/status.ts'
import type { Newcomer } from './joining.ts'

type Said = NonNullable<AttachRequest['message']>
type Heard = NonNullable<AttachResponse['message']>
type Kind = Heard['$case']
type Of<K extends Kind> = Extract<Heard, { $case: K }>['value']

/** A host whose every word the test writes. */
export interface ScriptedAgent {
  readonly name: string
  readonly identity: Newcomer
  readonly bootId: string
  /** Opens the stream and says Hello. */
  attach(hello?: Partial<Hello>, identity?: TlsIdentity): AgentStream
  /** The same, past Welcome and the first Sync. */
  settle(hello?: Partial<Hello>): Promise<AgentStream>
  /** Opens the stream and says nothing. */
  open(identity?: TlsIdentity): AgentStream
  /** Answers the order to show a dump. */
  showDump(dumpId: string): DumpStream
}

/** One dump of a scripted agent. Disposal tears the connection. */
export interface DumpStream extends AsyncDisposable {
  /** Resolves when the controller's end has taken it, as far as this end can know. */
  show(...frames: Parameters<typeof DumpFrame.fromPartial>[0][]): Promise<void>
  /** There is no more to show. */
  finish(why: RelayError): void
  /** How the controller ended it: without an error when it answered. */
  readonly ended: Promise<RelayError | undefined>
}

/** One stream of a scripted agent. Disposal tears the connection. */
export interface AgentStream extends AsyncDisposable {
  send(message: Said): void
  /** The next message, which must be of this kind. Rejects when it is another, when none comes, or with the stream's end. */
  hear<K extends Kind>(kind: K): Promise<Of<K>>
  /** Passes over others until one of this kind comes. */
  await<K extends Kind>(kind: K): Promise<Of<K>>
  /** Everything heard so far that nobody asked for. */
  readonly unheard: readonly Heard[]
  /** Stops reading, as a host does that hangs. */
  pause(): void
  resume(): void
  /** How the controller ended it: without an error when it ended well. */
  readonly ended: Promise<RelayError | undefined>
  /** Ends our half. */
  finish(): void
}

export function scriptedAgent(address: string, identity: Newcomer): ScriptedAgent {
  const bootId = randomUUID()
  const bootedAt = new Date()
  const open = (as: TlsIdentity = identity) => openStream(address, as)

  function attach(hello: Partial<Hello> = {}, as?: TlsIdentity): AgentStream {
    const stream = open(as)
    const value = Hello.fromPartial({
      version: '0.0.0-test',
      bootId,
      bootedAt,
      hostLabels: { os: 'test' },
      clock: new Date(),
      ...hello,
    })
    stream.send({ $case: 'hello', value })
    return stream
  }

  return {
    name: identity.name,
    identity,
    bootId,
    open,
    showDump: dumpId => openDump(address, identity, dumpId),
    attach,
    async settle(hello) {
      const stream = attach(hello)
      await stream.hear('welcome')
      await stream.hear('sync')
      return stream
    },
  }
}

function openDump(address: string, identity: TlsIdentity, dumpId: string): DumpStream {
  const client = new AgentServiceClient(address, channelCredentials(clientOptions(identity)), channelOptions)
  const ended = Promise.withResolvers<RelayError | undefined>()
  const call = client.sendDump(error => {
    client.close()
    ended.resolve(error ? fromStatus(error, 'the dump') : undefined)
  })
  call.on('error', () => {})
  const write = (message: NonNullable<SendDumpRequest['message']>) =>
    new Promise<void>(resolve => void call.write({ message }, () => resolve()))
  void write({ $case: 'dumpId', value: dumpId })
  return {
    show: (...frames) =>
      write({ $case: 'frames', value: { frames: frames.map(each => DumpFrame.fromPartial(each)) } }),
    finish(why) {
      void write({ $case: 'end', value: toProblem(why) })
      call.end()
    },
    ended: ended.promise,
    async [Symbol.asyncDispose]() {
      call.cancel()
      await ended.promise
    },
  }
}

const patienceMs = 5_000

function openStream(address: string, identity: TlsIdentity): AgentStream {
  const client = new AgentServiceClient(address, channelCredentials(clientOptions(identity)), channelOptions)
  const call = client.attach()
  const heard: Heard[] = []
  const ended = Promise.withResolvers<RelayError | undefined>()
  const released = Promise.withResolvers<void>()
  let over = false
  let news = Promise.withResolvers<void>()

  function tell(): void {
    news.resolve()
    news = Promise.withResolvers()
  }
  function end(error: RelayError | undefined): void {
    over = true
    ended.resolve(error)
    client.close()
    released.resolve()
    tell()
  }

  call.on('data', ({ message }: AttachResponse) => {
    if (message) heard.push(message)
    tell()
  })
  call.on('error', (failure: ServiceError) => end(fromStatus(failure, 'the stream')))
  call.on('end', () => end(undefined))

  async function next(wanted: Kind): Promise<Heard> {
    const deadline = performance.now() + patienceMs
    for (;;) {
      const first = heard.shift()
      if (first) return first
      if (over) throw (await ended.promise) ?? new Error(`the stream ended before a ${wanted} came`)
      const left = deadline - performance.now()
      if (left <= 0) throw new Error(`no ${wanted} came`)
      await within(left, news.promise)
    }
  }

  return {
    send: message => void call.write({ message }),
    async hear(kind) {
      const message = await next(kind)
      if (message.$case === kind) return message.value as never
      throw new Error(`a ${message.$case} came in place of a ${kind}`)
    },
    async await(kind) {
      for (;;) {
        const message = await next(kind)
        if (message.$case === kind) return message.value as never
      }
    },
    unheard: heard,
    pause: () => void call.pause(),
    resume: () => void call.resume(),
    ended: ended.promise,
    finish: () => call.end(),
    async [Symbol.asyncDispose]() {
      call.cancel()
      call.resume()
      await released.promise
    },
  }
}

async function within(ms: number, promise: Promise<void>): Promise<void> {
  const timeUp = Promise.withResolvers<void>()
  const timer = setTimeout(timeUp.resolve, ms)
  await Promise.race([promise, timeUp.promise])
  clearTimeout(timer)
}

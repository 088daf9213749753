import {
  Metadata,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'
import { RelayError } from '#relay/errors.ts'
import type { Logger } from '#telemetry/log.ts'
import { toStatus } from '#wire/status.ts'
import type { Caller } from '../access.ts'

type AnyCall =
  | ServerUnaryCall<unknown, unknown>
  | ServerWritableStream<unknown, unknown>
  | ServerDuplexStream<unknown, unknown>

interface MethodDefinition {
  readonly requestStream: boolean
  readonly responseStream: boolean
}

type RequestOf<M> = M extends { requestDeserialize: (bytes: Buffer) => infer R } ? R : never
type ResponseOf<M> = M extends { responseDeserialize: (bytes: Buffer) => infer R } ? R : never

/** A service as plain functions: a request and its caller in, an answer or a series of them out. */
export type Acts<Service> = {
  readonly [Name in keyof Service]: Service[Name] extends { responseStream: true }
    ? (
        request: RequestOf<Service[Name]>,
        caller: Caller,
        signal: AbortSignal,
      ) => AsyncIterable<ResponseOf<Service[Name]>>
    : (request: RequestOf<Service[Name]>, caller: Caller) => Promise<ResponseOf<Service[Name]>>
}

type Admit = (call: AnyCall, method: string) => Caller

/**
 * Puts plain functions behind gRPC: each call is let in by `admit` first, and every failure leaves as a RelayError. No
 * method can be served around it.
 */
export function serve<Service extends { readonly [Name in keyof Service]: MethodDefinition }>(
  definition: Service,
  acts: Acts<Service>,
  admit: Admit,
  log: Logger,
): UntypedServiceImplementation {
  const handlers: UntypedServiceImplementation = {}
  for (const [name, { responseStream }] of Object.entries<MethodDefinition>(definition)) {
    const act = acts[name as keyof Service] as unknown
    handlers[name] = responseStream
      ? streamed(name, act as StreamAct, admit, log)
      : single(name, act as SingleAct, admit, log)
  }
  return handlers
}

type SingleAct = (request: unknown, caller: Caller) => Promise<unknown>
type StreamAct = (request: unknown, caller: Caller, signal: AbortSignal) => AsyncIterable<unknown>

function single(name: string, act: SingleAct, admit: Admit, log: Logger) {
  return async (call: ServerUnaryCall<unknown, unknown>, answer: sendUnaryData<unknown>) => {
    try {
      answer(null, await act(call.request, admit(call, name)))
    } catch (thrown) {
      answer(refusal(name, thrown, log))
    }
  }
}

function streamed(name: string, act: StreamAct, admit: Admit, log: Logger) {
  return async (call: ServerWritableStream<unknown, unknown>) => {
    const gone = new AbortController()
    call.on('cancelled', () => gone.abort())
    call.on('close', () => gone.abort())
    call.on('error', () => gone.abort())
    try {
      for await (const message of act(call.request, admit(call, name), gone.signal)) {
        if (gone.signal.aborted) break
        // Ignoring a full stream once cost a gigabyte in two seconds.
        if (!call.write(message)) await drained(call, gone.signal)
      }
      call.end()
    } catch (thrown) {
      call.emit('error', refusal(name, thrown, log))
    }
  }
}

export function drained(
  stream: {
    once(event: 'drain', listener: () => void): unknown
    off(event: 'drain', listener: () => void): unknown
  },
  signal: AbortSignal,
): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise(resolve => {
    const done = () => {
      stream.off('drain', done)
      signal.removeEventListener('abort', done)
      resolve()
    }
    stream.once('drain', done)
    signal.addEventListener('abort', done, { once: true })
  })
}

export function refusal(name: string, thrown: unknown, log: Logger) {
  const error = RelayError.from(thrown, `the controller failed at ${name}`)
  if (error.code === 'internal')
    log.error({ event: 'rpc.failed', method: name, error: thrown }, 'a call failed for a reason of ours')
  const { code, details, metadata } = toStatus(error)
  return {
    code,
    details: details ?? '',
    metadata: metadata ?? new Metadata(),
    name: 'RelayError',
    message: details ?? '',
  }
}

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
import { failureOf } from '#wire/failure.ts'
import { toStatus } from '#wire/status.ts'
import type { Caller } from '../access.ts'
import { drained } from '../drained.ts'
import type { Mirror } from '../mirror.ts'
import type { Refusals } from '../refusals.ts'
import { watchStanding } from '../standing.ts'

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

export interface Serving {
  /** Lets a call in, or throws. */
  admit(call: AnyCall, method: string): Caller
  readonly mirror: Mirror
  readonly log: Logger
  /** A call was refused; a mistake of the caller is told too, and passed over there. */
  readonly refused: Refusals
  /** Aborts when the controller stops: what would last for ever ends then. */
  readonly closing: AbortSignal
}

/**
 * Puts plain functions behind gRPC: each call is let in by `admit` first, and every failure leaves as a RelayError. No
 * method can be served around it.
 */
export function serve<Service extends { readonly [Name in keyof Service]: MethodDefinition }>(
  definition: Service,
  acts: Acts<Service>,
  serving: Serving,
): UntypedServiceImplementation {
  const handlers: UntypedServiceImplementation = {}
  for (const [name, { responseStream }] of Object.entries<MethodDefinition>(definition)) {
    const act = acts[name as keyof Service] as unknown
    handlers[name] = responseStream
      ? streamed(name, act as StreamAct, serving)
      : single(name, act as SingleAct, serving)
  }
  return handlers
}

type SingleAct = (request: unknown, caller: Caller) => Promise<unknown>
type StreamAct = (request: unknown, caller: Caller, signal: AbortSignal) => AsyncIterable<unknown>

function single(name: string, act: SingleAct, { admit, log, refused }: Serving) {
  return async (call: ServerUnaryCall<unknown, unknown>, answer: sendUnaryData<unknown>) => {
    try {
      answer(null, await act(call.request, admit(call, name)))
    } catch (thrown) {
      refused(call, name, thrown)
      answer(refusal(name, thrown, log))
    }
  }
}

function streamed(name: string, act: StreamAct, { admit, mirror, log, refused, closing }: Serving) {
  return async (call: ServerWritableStream<unknown, unknown>) => {
    const gone = new AbortController()
    let lost: unknown
    let isAnswered = false
    const lose = (thrown: unknown) => {
      lost = thrown
      gone.abort()
    }
    const close = () => lose(new RelayError('unavailable', { what: name, why: 'the controller is stopping' }))
    call.on('cancelled', () => gone.abort())
    call.on('close', () => gone.abort())
    call.on('error', () => gone.abort())
    try {
      const caller = admit(call, name)
      using _ = watchStanding(mirror, caller, () => admit(call, name), lose)
      closing.addEventListener('abort', close)
      for await (const message of act(call.request, caller, gone.signal)) {
        if (gone.signal.aborted) break
        isAnswered = true
        // Ignoring a full stream once cost a gigabyte in two seconds.
        if (!call.write(message)) await drained(call, gone.signal)
      }
      if (lost) throw lost
      call.end()
    } catch (thrown) {
      // What ends later was let in before: that it was taken back is on record already.
      if (!isAnswered) refused(call, name, thrown)
      call.emit('error', refusal(name, thrown, log))
    } finally {
      closing.removeEventListener('abort', close)
    }
  }
}

export function refusal(name: string, thrown: unknown, log: Logger) {
  const error = failureOf(thrown, `the controller failed at ${name}`)
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

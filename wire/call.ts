import {
  type CallOptions,
  type ClientReadableStream,
  type ClientUnaryCall,
  Metadata,
  type ServiceError,
} from '@grpc/grpc-js'
import { RelayError } from '#relay/errors.ts'
import { fromStatus, isServiceError } from './status.ts'

type UnaryMethod<Request, Response> = (
  request: Request,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (error: ServiceError | null, response: Response) => void,
) => ClientUnaryCall

export interface CallContext {
  /** What the call does, for the error when gRPC itself reports one: `list the relays`. */
  readonly what: string
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}

/** One call, one answer. Rejects with a RelayError, never with gRPC's own. */
export function unary<Request, Response>(
  client: object,
  method: UnaryMethod<Request, Response>,
  request: Request,
  { what, timeoutMs = 15_000, signal }: CallContext,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    const cancel = () => call.cancel()
    const call = method.call(
      client,
      request,
      new Metadata(),
      { deadline: Date.now() + timeoutMs },
      (error, response) => {
        signal?.removeEventListener('abort', cancel)
        if (error) reject(fromStatus(error, what))
        else resolve(response)
      },
    )
    if (signal?.aborted) cancel()
    else signal?.addEventListener('abort', cancel, { once: true })
  })
}

/** A server's stream as an iteration; leaving the loop cancels the call. Rejects with a RelayError. */
export async function* messages<Response>(
  stream: ClientReadableStream<Response>,
  what: string,
): AsyncGenerator<Response, void, undefined> {
  try {
    for await (const message of stream) yield message as Response
  } catch (thrown) {
    throw isServiceError(thrown) ? fromStatus(thrown, what) : RelayError.from(thrown, what)
  } finally {
    stream.on('error', () => {})
    stream.cancel()
  }
}

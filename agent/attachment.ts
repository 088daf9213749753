import type { ServiceError } from '@grpc/grpc-js'
import type {
  AgentServiceClient,
  AttachRequest,
  AttachResponse,
  Hello,
  Welcome,
} from '#gen/fleetcat/v1/agent.ts'
import { RelayError } from '#relay/errors.ts'
import { fromStatus } from '#wire/status.ts'
import type { Writer } from './outbox.ts'

/** How a stream ended. Only a Goodbye is a leave; any other end, a tidy one too, means that the other side was lost. */
export type End =
  | { readonly how: 'goodbye'; readonly reason: string }
  | { readonly how: 'lost'; readonly error: RelayError }

export type Order = Exclude<NonNullable<AttachResponse['message']>, { $case: 'welcome' | 'goodbye' }>

/** One Attach stream that the controller has welcomed. */
export interface Attachment extends Writer {
  readonly welcome: Welcome
  /** Never rejects. */
  readonly ended: Promise<End>
  /** Says so, and waits for the controller to hang up, but not for long. */
  leave(reason: string): Promise<void>
  /** Ends it now. */
  abandon(reason: RelayError): void
  /** Tells the controller why, and ends it. */
  refuse(reason: RelayError): void
}

export interface AttachContext {
  /** Used for this stream alone, and closed with it. */
  readonly client: AgentServiceClient
  readonly hello: Hello
  readonly signal: AbortSignal
  /** Called before any order of this stream. What any of these throws ends the stream, and nothing else. */
  welcomed(attachment: Attachment): void
  received(order: Order, attachment: Attachment): void
  drained(attachment: Attachment): void
}

const what = 'the session with the controller'
const welcomeMs = 10_000
const hangUpMs = 1_000

/** Opens a stream. Resolves once it is welcomed, or with its end if it never was. Never rejects. */
export function attach(cx: AttachContext): Promise<Attachment | End> {
  const { client, hello, signal, welcomed, received, drained } = cx
  const opened = Promise.withResolvers<Attachment>()
  const ended = Promise.withResolvers<End>()
  const gone = Promise.withResolvers<void>()
  let attachment: Attachment | undefined
  const call = client.attach()

  const patience = setTimeout(() => {
    lose(new RelayError('timed-out', { what, why: `no welcome within ${welcomeMs / 1_000} s` }))
  }, welcomeMs)

  function lose(error: RelayError) {
    clearTimeout(patience)
    ended.resolve({ how: 'lost', error })
    call.cancel()
  }

  const onAbort = () => lose(RelayError.from(signal.reason, what))

  function release() {
    signal.removeEventListener('abort', onAbort)
    clearTimeout(patience)
    client.close()
    gone.resolve()
  }

  function welcome(value: Welcome) {
    clearTimeout(patience)
    signal.removeEventListener('abort', onAbort)
    const mine: Attachment = { welcome: value, ended: ended.promise, write, leave, abandon: lose, refuse }
    attachment = mine
    guarded(() => {
      welcomed(mine)
      opened.resolve(mine)
    })
  }

  /** What comes in comes in an event handler, where an error would end the whole process. */
  function guarded(act: () => void) {
    try {
      act()
    } catch (thrown) {
      lose(RelayError.from(thrown, what))
    }
  }

  const write = (message: AttachRequest) => call.write(message)

  async function leave(reason: string) {
    call.write({ message: { $case: 'goodbye', value: { reason } } })
    call.end()
    hangUp()
    await gone.promise
  }

  function refuse(reason: RelayError) {
    ended.resolve({ how: 'lost', error: reason })
    call.write({ message: { $case: 'goodbye', value: { reason: reason.message } } })
    call.end()
    hangUp()
  }

  /** The other side ends the call in its own time, but not in any time. */
  function hangUp() {
    const patience = setTimeout(() => call.cancel(), hangUpMs)
    void gone.promise.then(() => clearTimeout(patience))
  }

  function bye(reason: string) {
    clearTimeout(patience)
    ended.resolve({ how: 'goodbye', reason })
    call.end()
    hangUp()
  }

  call.on('data', ({ message }: AttachResponse) => {
    if (message?.$case === 'goodbye') return bye(message.value.reason)
    if (message?.$case === 'welcome') return attachment ? undefined : welcome(message.value)
    const mine = attachment
    if (message && mine) guarded(() => received(message, mine))
  })
  call.on('drain', () => {
    const mine = attachment
    if (mine) guarded(() => drained(mine))
  })
  call.on('error', (failure: ServiceError) => lose(fromStatus(failure, what)))
  call.on('status', () => {
    lose(new RelayError('unavailable', { what, why: 'the controller ended it without a goodbye' }))
    release()
  })

  if (signal.aborted) onAbort()
  else signal.addEventListener('abort', onAbort, { once: true })
  call.write({ message: { $case: 'hello', value: hello } })
  return Promise.race([opened.promise, ended.promise])
}

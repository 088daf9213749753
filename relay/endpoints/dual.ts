import type { Address } from '../address.ts'
import { openAdmission } from '../admission.ts'
import type { Channel, Endpoint, Listener, OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { joinChannels } from '../layers/joined-channels.ts'

/**
 * The two addresses of `READ!!WRITE` as one: what it says comes from `read`, what it is told goes to `write`. The ceiling
 * has to permit both (see `Endpoint.halves`). If one of them waits for connections it takes one and no more.
 */
export function joinEndpoints(read: Endpoint, write: Endpoint): Endpoint {
  const text = `${read.address.text}!!${write.address.text}`
  const both = {
    address: { ...read.address, text },
    scope: scopeOf(read, write),
    halves: [read, write] as const,
  }
  const isOpenable = [read, write].every(({ dialer, acceptor }) => dialer || acceptor)
  if (!isOpenable) return both
  if (read.dialer && write.dialer) return { ...both, dialer: { dial: cx => dialBoth(read, write, cx) } }
  for (const half of [read, write]) refuseFork(half)
  const { admission } = read.acceptor ? read : write
  const acceptor = { listen: (cx: OpenContext) => listenBoth(read, write, cx) }
  return { ...both, acceptor, ...(admission && { admission }) }
}

function scopeOf({ scope }: Endpoint, write: Endpoint): Address {
  return { ...scope, text: `${scope.text}!!${write.scope.text}` }
}

function refuseFork({ address }: Endpoint): void {
  if (!address.options.some(({ name, value }) => name === 'fork' && value !== '0')) return
  throw new RelayError('usage', {
    what: `address \`${address.text}\``,
    why: 'as a half of a dual address it takes one connection, for each needs another half',
    fix: 'Leave out `fork`',
  })
}

async function dialBoth(read: Endpoint, write: Endpoint, cx: OpenContext): Promise<Channel> {
  if (cx.uses) return (cx.uses === 'read' ? read : write).dialer!.dial(cx)
  return openBoth(
    () => read.dialer!.dial({ ...cx, uses: 'read' }),
    () => write.dialer!.dial({ ...cx, uses: 'write' }),
  )
}

/** In this order, as socat does. What has been opened already is closed when the other cannot be. */
async function openBoth(
  openRead: () => Promise<Channel>,
  openWrite: () => Promise<Channel>,
): Promise<Channel> {
  const read = await openRead()
  // Until it is joined nobody may be listening, and an error that nobody hears ends the process.
  read.stream.on('error', () => {})
  try {
    return joinChannels(read, await openWrite())
  } catch (error) {
    read.abort(RelayError.from(error, read.peer.text))
    await read[Symbol.asyncDispose]()
    throw error
  }
}

/** Both listen at once, if both do; then one arrival of each is the one arrival. */
async function listenBoth(read: Endpoint, write: Endpoint, cx: OpenContext): Promise<Listener> {
  await using held = new AsyncDisposableStack()
  const listening = async ({ acceptor }: Endpoint, own: OpenContext) =>
    acceptor && held.use(await acceptor.listen(own))
  const readListener = await listening(read, cx)
  const writeListener = await listening(write, readListener ? { ...cx, admit: ownSourcesOf(write) } : cx)
  const listeners = held.move()
  const locals = [readListener?.local ?? read.address.text, writeListener?.local ?? write.address.text]
  let isTaken = false

  const openHalf = async (endpoint: Endpoint, listener: Listener | undefined, uses: 'read' | 'write') => {
    if (!listener) return endpoint.dialer!.dial({ ...cx, uses })
    for await (const channel of listener) return channel
    throw new Closed()
  }

  return {
    local: locals.join('!!'),
    [Symbol.asyncIterator]: () => ({
      async next() {
        if (isTaken) return { done: true, value: undefined }
        isTaken = true
        try {
          const value = await openBoth(
            () => openHalf(read, readListener, 'read'),
            () => openHalf(write, writeListener, 'write'),
          )
          return { done: false, value }
        } catch (error) {
          if (error instanceof Closed) return { done: true, value: undefined }
          throw error
        }
      },
    }),
    [Symbol.asyncDispose]: () => listeners.disposeAsync(),
  }
}

/** The listener was closed while somebody waited for its arrival. */
class Closed extends Error {}

/** The relay counts the first half's arrival; the other's belongs to the same connection, and is held to its address. */
function ownSourcesOf({ admission = {} }: Endpoint): NonNullable<OpenContext['admit']> {
  const { sourceRefusal } = openAdmission(admission, {})
  return ({ ip }) => sourceRefusal(ip) === undefined
}

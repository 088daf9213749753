import { type Address, formatAddress } from '../address.ts'
import type { Channel, Listener, OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { openArrivals } from './arrivals.ts'
import { checkPlaceIn } from './landing.ts'
import { type PlacedPty, type PtyTarget, placePty } from './pty-terminal.ts'

/** How many programs may have opened the link and wait until they are served. */
const queue = 64

/** Opens a terminal; with `wait-slave` it is there at once, and the channel when a program has opened it. */
export async function dialPty(target: PtyTarget, cx: OpenContext): Promise<Channel> {
  const { scope, options } = target
  if (options.fork) {
    const why = 'a target is opened anew for each connection, with or without `fork`'
    throw new RelayError('usage', { what: scope.text, why, fix: 'Leave it out' })
  }
  if (cx.signal.aborted) throw RelayError.from(cx.signal.reason, scope.text)
  cx.egress.check(scope)
  await checkLink(target, cx)
  const terminal = await placePty(target, 'all')
  if (options.waitSlave) await terminal.opened(cx.signal)
  return terminal.channel()
}

/**
 * One terminal; or with `fork` one for each program that opens the link, which then leads to the next at once, so that
 * whoever comes later has a conversation of its own.
 */
export async function listenPty(target: PtyTarget, cx: OpenContext): Promise<Listener> {
  const { scope, link, options } = target
  const fork = options.fork ?? false
  await checkLink(target, cx)
  const first = await placePty(target, 'arrivals')
  const stopping = new AbortController()
  const arrivals = openArrivals(cx, {
    local: link ?? first.peer.text,
    fork,
    queue,
    close: () => stopping.abort(new RelayError('closed', { what: scope.text, why: 'it no longer listens' })),
  })
  const serve = async (first: PlacedPty) => {
    for (let terminal = first; ; terminal = await placePty(target, 'arrivals')) {
      if (fork || options.waitSlave) await terminal.opened(stopping.signal)
      arrivals.offer(await terminal.channel())
      if (!fork) return
    }
  }
  const serving = serve(first).catch((error: unknown) => {
    if (!stopping.signal.aborted) arrivals.fail(RelayError.from(error, scope.text))
  })
  return {
    ...arrivals,
    async [Symbol.asyncDispose]() {
      await arrivals[Symbol.asyncDispose]()
      await serving
    },
  }
}

async function checkLink({ scope, link }: PtyTarget, cx: OpenContext): Promise<void> {
  if (link === undefined) return
  await checkPlaceIn(link, path => linkedAt(scope, path), cx)
}

/** The same scope with its link elsewhere. */
function linkedAt(scope: Address, path: string): Address {
  const options = scope.options.map(option => (option.name === 'link' ? { ...option, value: path } : option))
  const moved = { ...scope, options }
  return { ...moved, text: formatAddress(moved) }
}

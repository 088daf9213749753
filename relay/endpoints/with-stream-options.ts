import { type Address, addressError, type Option } from '../address.ts'
import type { Acceptor, Channel, Dialer, Endpoint, EndpointKind, Listener, OpenContext } from '../endpoint.ts'
import { holdLock, lockScope } from '../layers/lock-file.ts'
import {
  readStreamOptions,
  type StreamOptions,
  streamLayer,
  streamOptions,
} from '../layers/stream-options.ts'
import { hasOption, type OptionGroup } from '../options.ts'
import { servesLine } from '../served-line.ts'

/** The kind's own options, and those of every kind that it does not have by itself. */
export function groupsOf({ groups }: Pick<EndpointKind, 'groups'>): readonly OptionGroup[] {
  const rest = Object.entries(streamOptions.options).filter(
    ([, { name, aliases }]) => ![name, ...aliases].some(spelling => hasOption(groups, spelling)),
  )
  return [...groups, { ...streamOptions, options: Object.fromEntries(rest) }]
}

/**
 * Binds an address whose options are checked already. Those that every kind has are done here, to the channels that the
 * kind opens, unless the kind has an option of the same name, which then is its business.
 */
export function bindWithStreamOptions(kind: EndpointKind, address: Address): Endpoint {
  const isCommon = (name: string) => !hasOption(kind.groups, name) && hasOption([streamOptions], name)
  const common = address.options.filter(({ name }) => isCommon(name))
  if (common.length === 0) return kind.bind(address)
  const options = readStreamOptions({ ...address, options: common })
  const own = address.options.filter(({ name }) => !isCommon(name))
  if (servesLine(address)) refuseLayer(address, common)
  const endpoint = kind.bind({ ...address, options: own })
  return { ...wrapped(endpoint, options), address }
}

/** What goes through such an address is not the bytes alone. */
function refuseLayer(address: Address, options: readonly Option[]): void {
  const touching = options.find(option => streamLayer(readStreamOptions({ ...address, options: [option] })))
  if (!touching) return
  const why = `\`${touching.name}\` is for the bytes of the line, and with \`rfc2217\` there is more than bytes`
  throw addressError(address.text, touching.at, { why, fix: `Leave \`${touching.name}\` out` })
}

function wrapped(endpoint: Endpoint, options: StreamOptions): Endpoint {
  const { scope, dialer, acceptor, writes = [] } = endpoint
  const path = options.lockfile ?? options.waitlock
  const lock = path === undefined ? undefined : lockScope(path)
  const layer = streamLayer(options) ?? (channel => channel)
  const mode = options.waitlock === undefined ? 'try' : 'wait'
  const held = lock && ((cx: OpenContext) => holdLock(lock, mode, scope.text, cx))
  return {
    ...endpoint,
    ...(lock && { writes: [...writes, lock] }),
    ...(dialer && { dialer: held ? lockedDialer(dialer, layer, held) : layeredDialer(dialer, layer) }),
    ...(acceptor && {
      acceptor: held ? lockedAcceptor(acceptor, layer, held) : layeredAcceptor(acceptor, layer),
    }),
  }
}

type ChannelLayer = (inner: Channel) => Channel

/** The same endpoint, each of whose channels has this layer. */
export function layered(endpoint: Endpoint, layer: ChannelLayer): Endpoint {
  const { dialer, acceptor } = endpoint
  return {
    ...endpoint,
    ...(dialer && { dialer: layeredDialer(dialer, layer) }),
    ...(acceptor && { acceptor: layeredAcceptor(acceptor, layer) }),
  }
}
type Hold = (cx: OpenContext) => Promise<AsyncDisposable>

const layeredDialer = (dialer: Dialer, layer: ChannelLayer): Dialer => ({
  dial: async cx => layer(await dialer.dial(cx)),
})

const layeredAcceptor = (acceptor: Acceptor, layer: ChannelLayer): Acceptor => ({
  listen: async cx => layeredListener(await acceptor.listen(cx), layer),
})

function layeredListener(listener: Listener, layer: ChannelLayer): Listener {
  return {
    local: listener.local,
    ...(listener.turnAway && { turnAway: listener.turnAway }),
    [Symbol.asyncIterator]() {
      const arrivals = listener[Symbol.asyncIterator]()
      return {
        async next() {
          const { done, value } = await arrivals.next()
          return done ? { done, value: undefined } : { done: false, value: layer(value) }
        },
      }
    },
    async [Symbol.asyncDispose]() {
      await listener[Symbol.asyncDispose]()
    },
  }
}

const lockedDialer = (dialer: Dialer, layer: ChannelLayer, hold: Hold): Dialer => ({
  async dial(cx) {
    const lock = await hold(cx)
    try {
      return whenGone(layer(await dialer.dial(cx)), async () => {
        await lock[Symbol.asyncDispose]()
      })
    } catch (error) {
      await lock[Symbol.asyncDispose]()
      throw error
    }
  },
})

/** Held for as long as somebody listens, or one of those is there who have come. */
const lockedAcceptor = (acceptor: Acceptor, layer: ChannelLayer, hold: Hold): Acceptor => ({
  async listen(cx) {
    const lock = await hold(cx)
    let users = 1
    const gone = async (): Promise<void> => {
      users--
      if (users === 0) await lock[Symbol.asyncDispose]()
    }
    const counted = (inner: Channel) => {
      users++
      return whenGone(layer(inner), gone)
    }
    try {
      return whenGone(layeredListener(await acceptor.listen(cx), counted), gone)
    } catch (error) {
      await gone()
      throw error
    }
  },
})

/** The same resource; `then` runs once, after its disposal. */
function whenGone<T extends AsyncDisposable>(resource: T, then: () => Promise<void>): T {
  let disposal: Promise<void> | undefined
  return {
    ...resource,
    [Symbol.asyncDispose]() {
      disposal ??= Promise.resolve(resource[Symbol.asyncDispose]()).then(then)
      return disposal
    },
  }
}

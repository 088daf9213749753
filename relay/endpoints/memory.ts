import type { Address } from '../address.ts'
import type { Channel, Endpoint, EndpointKind, Listener, OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { listenOptions } from '../option-groups.ts'
import { readOptions } from '../options.ts'
import { type Arrivals, openArrivals } from './arrivals.ts'
import { memoryPair } from './memory-pair.ts'

const { fork, maxChildren, backlog } = listenOptions.options
const memoryListenOptions = { name: 'memory', options: { fork, maxChildren, backlog } } as const

/**
 * Conversations inside this process. They reach nobody else, and behave as TCP does: half-close, backpressure, reset.
 * Tests and trials use them where they would otherwise need a port.
 */
export const memoryKinds: readonly EndpointKind[] = [
  {
    keyword: 'MEMORY',
    aliases: [],
    syntax: 'MEMORY:<name>',
    summary: 'a conversation with a MEMORY-LISTEN of the same process',
    groups: [],
    role: 'target',
    checkable: true,
    bind(address) {
      const scope = scopeOf(address, 'MEMORY')
      readOptions(address, [])
      const dialer: Endpoint['dialer'] = { dial: async cx => dial(scope, cx) }
      return { address, scope, dialer }
    },
  },
  {
    keyword: 'MEMORY-LISTEN',
    aliases: [],
    syntax: 'MEMORY-LISTEN:<name>',
    summary: 'a listener inside this process, for MEMORY',
    groups: [memoryListenOptions],
    role: 'listen',
    bind(address) {
      const scope = scopeOf(address, 'MEMORY-LISTEN')
      const options = readOptions(address, [memoryListenOptions])
      const acceptor: Endpoint['acceptor'] = {
        listen: async cx => listen(scope, options.fork ?? false, options.backlog ?? 511, cx),
      }
      return { address, scope, acceptor, admission: { maxChildren: options.maxChildren } }
    },
  },
]

/** Names belong to the process, as ports belong to a host. */
const listeners = new Map<string, { readonly arrivals: Arrivals; connected: number }>()

function listen(scope: Address, fork: boolean, queue: number, cx: OpenContext): Listener {
  const name = scope.args[0]!
  if (listeners.has(name)) {
    const why = `the name \`${name}\` is in use in this process`
    throw new RelayError('address-in-use', { what: scope.text, why, fix: 'Choose another name' })
  }
  const local = `memory:${name}`
  const arrivals = openArrivals(cx, { local, fork, queue, close: () => void listeners.delete(name) })
  listeners.set(name, { arrivals, connected: 0 })
  return arrivals
}

function dial(scope: Address, cx: OpenContext): Channel {
  if (cx.signal.aborted) throw RelayError.from(cx.signal.reason, scope.text)
  cx.egress.check(scope)
  const name = scope.args[0]!
  const listener = listeners.get(name)
  if (!listener) throw new RelayError('refused', { what: scope.text, why: 'nothing listens there' })
  listener.connected++
  const text = `memory:${name}`
  const [near, far] = memoryPair({ text }, { text: `${text}#${listener.connected}` })
  listener.arrivals.offer(far)
  return near
}

function scopeOf(address: Address, keyword: string): Address {
  const name = address.args[0] ?? ''
  if (address.args.length !== 1 || !/^[\w.-]{1,64}$/.test(name)) {
    throw new RelayError('usage', {
      what: `address \`${address.text}\``,
      why: 'its name must be 1 to 64 letters, digits, dots, dashes or underscores',
      fix: `Write e.g. \`${keyword}:orders\``,
    })
  }
  return { keyword, args: [name], options: [], text: `${keyword}:${name}` }
}

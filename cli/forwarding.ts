import { parseAddress } from '#relay/address.ts'
import { ownEgress } from '#relay/egress.ts'
import { bindListen, bindTarget } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'
import { readPort } from '#relay/ports.ts'
import { type Connection, openRelay, type RelayState, type RunningRelay } from '#relay/relay.ts'
import type { Fleet } from './client.ts'
import { note, usage } from './failure.ts'
import { bytes, span } from './output/time.ts'
import { openTunnels, type Tunnels } from './tunnels.ts'

/** Where programs of this host come, and what they reach on another. */
export interface Pair {
  readonly listen: string
  readonly target: string
}

/** Throws a RelayError `usage` that says what is wrong and what would be right. */
export function readPairs(words: readonly string[]): Pair[] {
  const example = 'fleetcat forward 15432 @db-1/TCP4:127.0.0.1:5432'
  if (words.length % 2 === 1) {
    const why = 'to each LISTEN belongs an @AGENT/ADDRESS behind it'
    throw usage(`forward ${words.join(' ')}`, why, `Write for example: ${example}`)
  }
  const pairs: Pair[] = []
  for (let at = 0; at < words.length; at += 2) {
    const pair = { listen: listenOf(words[at]!), target: words[at + 1]! }
    bindListen(pair.listen)
    bindTarget(pair.target)
    if (parseAddress(pair.target).host === undefined) {
      const why = `\`${pair.target}\` names no agent`
      throw usage(`forward ${words.join(' ')}`, why, `Write for example: ${example}`)
    }
    pairs.push(pair)
  }
  return pairs
}

function listenOf(word: string): string {
  if (readPort(word) !== undefined) return `TCP4-LISTEN:${word},bind=127.0.0.1,fork`
  // As an address it would be an open file of ours.
  if (/^\d+$/.test(word)) throw usage(`forward ${word}`, 'a port is a number up to 65535')
  return word
}

export interface ForwardOptions {
  /** Resolves with the exit code when somebody wants it to end. */
  readonly stopped: Promise<number>
  readonly quiet: boolean
}

/** Runs them until they are stopped, or none can go on. Answers the exit code; rejects with what ended them. */
export async function runForwards(
  fleet: Fleet,
  pairs: readonly Pair[],
  { stopped, quiet }: ForwardOptions,
): Promise<number> {
  const over = Promise.withResolvers<number>()
  const ended = new AbortController()
  await using tunnels = openTunnels(fleet, {
    purpose: 'forward',
    changed({ way, over: why }) {
      if (why?.code === 'revoked') note(`the tunnel was cut: ${why.message}`)
      else if (why && !ended.signal.aborted)
        note(`the tunnel was lost: ${why.message}. The next connection opens another`)
      else if (!why && !quiet)
        note(`a tunnel stands, ${way === 'straight' ? 'straight' : 'through the controller'}`)
    },
    withdrawn(why) {
      // Whoever is no operator any more gets no other tunnel either.
      if (why.code === 'revoked' || why.code === 'unauthenticated' || why.code === 'denied') over.reject(why)
    },
  })
  await using relays = new AsyncDisposableStack()
  relays.defer(() => ended.abort())
  let left = pairs.length
  for (const pair of pairs) {
    const relay = relays.use(
      openForward(pair, tunnels, quiet, state => {
        if (state.name === 'ready') note(`${state.local.join(', ')} leads to ${pair.target}`)
        else if (state.name === 'rejected' && !state.retryAt) over.reject(state.error)
        else if (state.name === 'done' && --left === 0) over.resolve(0)
      }),
    )
    void relay
  }
  // What is wrong with an address or a right is known before somebody comes.
  const checks = pairs.map(({ target }) =>
    tunnels.warm(target, ended.signal).catch(thrown => {
      const error = RelayError.from(thrown, target)
      if (isLasting(error)) over.reject(error)
      else if (!ended.signal.aborted) note(`${error.message}. It is tried again when somebody comes`)
    }),
  )
  void Promise.all(checks)
  return await Promise.race([stopped, over.promise])
}

function openForward(
  { listen, target }: Pair,
  tunnels: Tunnels,
  quiet: boolean,
  onState: (state: RelayState) => void,
): RunningRelay {
  let connections = 0
  return openRelay(
    {
      id: 'forward',
      name: 'forward',
      listen: bindListen(listen),
      targets: [tunnels.target(target)],
      limits: {},
      giveUp: true,
    },
    {
      egress: ownEgress,
      newConnectionId: () => String(++connections),
      observer: {
        state: onState,
        opened() {},
        joined(connection, peer) {
          if (!quiet) note(`${nameOf(connection)} is joined with ${peer.text}`)
        },
        closed(connection, { cause, error, durationMs }) {
          if (quiet || (cause === 'failed' && connection.way === undefined)) return
          const amount = `${bytes(connection.bytesIn)} in, ${bytes(connection.bytesOut)} out`
          const why = error ? `: ${error.message}` : ''
          note(`${nameOf(connection)} has ended after ${span(Math.round(durationMs))}, ${amount}${why}`)
        },
        refused: (cause, source) => note(`${source} was turned away: ${cause}`),
        failed: error => note(error.message),
      },
    },
  )
}

const nameOf = ({ id, source }: Connection) => `connection ${id} of ${source}`

/** It will be so for the next one who comes, too. */
function isLasting({ code }: RelayError): boolean {
  return ['usage', 'denied', 'unauthenticated', 'revoked', 'not-found', 'unsupported'].includes(code)
}

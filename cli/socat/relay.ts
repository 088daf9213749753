import { ownEgress } from '#relay/egress.ts'
import type { RelayError } from '#relay/errors.ts'
import { type Connection, openRelay, type RelayState } from '#relay/relay.ts'
import { longestTimerMs } from '#relay/timer.ts'
import { version } from '#wire/version.ts'
import { descriptorLines } from './descriptors.ts'
import { openDump } from './dump.ts'
import { errorText } from './error-text.ts'
import { preferring } from './ip-version.ts'
import type { Messages } from './messages.ts'
import { toPlan } from './plan.ts'
import type { SocatSettings } from './settings.ts'
import { isPlace, socketName } from './socket-name.ts'

/**
 * Runs the relay between two addresses until it is over or `stopped` is aborted. Answers the exit code; what happened
 * has been said. Throws a RelayError when an address is wrong.
 */
export async function runRelay(
  addresses: readonly [string, string],
  settings: SocatSettings,
  messages: Messages,
  stopped: AbortSignal,
): Promise<number> {
  const { plan, forks, isCool, shared } = toPlan(addresses, settings, {
    listening: local => messages.say('N', `listening on ${socketName(local)}`),
    dropped: reason => messages.say('W', reason),
  })
  const { promise: over, resolve: end } = Promise.withResolvers<void>()
  let local = ''
  let failures = 0
  const failed = (error: RelayError) => {
    failures++
    messages.say('E', errorText(error))
  }
  const onState = (state: RelayState) => {
    if (state.name === 'ready') {
      ;[local = ''] = state.local
      if (plan.listen.acceptor && isPlace(local)) messages.say('N', `listening on ${socketName(local)}`)
      if (forks) messages.started()
    } else if (state.name === 'rejected' && state.retryAt) {
      messages.say('I', `${errorText(state.error)}; another try at ${state.retryAt.toISOString()}`)
    } else if (state.name === 'rejected') {
      failed(state.error)
      end()
    } else if (state.name === 'done' || state.name === 'closed') {
      end()
    }
  }
  const accepting = ({ source }: Connection) => {
    if (!plan.listen.acceptor || !isPlace(local)) return
    messages.say('N', `accepting connection from ${socketName(source)} on ${socketName(local)}`)
  }
  /** A target that could not be opened is told of twice: then, and as the end of its connection. */
  const said = new WeakSet<RelayError>()
  let connections = 0
  using dump = openDump(settings, shared !== undefined)
  await using _ = shared
  const opening = {
    egress: ownEgress,
    programs: { rights: 'own', version, prefix: prefixOf(settings.programName) },
    lookup: preferring(settings.ipVersion ?? settings.lookupVersion ?? 4),
  } as const
  const { direction } = settings
  const uses = direction && (direction === 'forward' ? 'read' : 'write')
  await shared?.open({ ...opening, signal: stopped, ...(uses && { uses }) })
  await using relay = openRelay(plan, {
    ...opening,
    newConnectionId: () => String(++connections),
    observer: {
      state: onState,
      opened: accepting,
      joined() {
        messages.started()
        if (settings.descriptors) process.stderr.write(descriptorLines())
        messages.say('N', 'starting data transfer loop')
      },
      closed(_connection, { cause, error }) {
        if (cause === 'idle' && settings.idleMs) messages.say('N', 'inactivity timeout triggered')
        if (cause !== 'failed' || !error || said.has(error)) return
        if (isCool && error.code === 'reset') messages.say('N', errorText(error))
        else failed(error)
      },
      refused: (cause, source) => messages.say('W', `refusing ${socketName(source)}: ${cause}`),
      remarked: ({ subject, text }) => messages.say('W', `${subject}: ${text}`),
      failed(error) {
        said.add(error)
        failed(error)
        // Whoever came was the one to be served, though it did not get through the door.
        if (!forks) end()
      },
    },
  })
  if (dump) relay.tap(dump.sink)
  // Two pipes inside this process have nothing that would keep it alive.
  const alive = setInterval(() => {}, longestTimerMs)
  const stop = () => end()
  stopped.addEventListener('abort', stop, { once: true })
  if (stopped.aborted) end()
  await over
  clearInterval(alive)
  stopped.removeEventListener('abort', stop)
  if (stopped.aborted) await relay.abort(stopped.reason)
  return failures > 0 && !forks ? 1 : 0
}

/** Socat names the variables of its programs after itself, and so may be told another name. */
function prefixOf(programName: string): string {
  const name = programName.toUpperCase().replace(/[^A-Z0-9]/g, '_')
  return name === '' ? 'SOCAT' : name
}

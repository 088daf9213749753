import type { DumpFrames, DumpOrder } from '#gen/fleetcat/v1/agent.ts'
import type { WatchDumpResponse } from '#gen/fleetcat/v1/operator.ts'
import type { Problem, Relay } from '#gen/fleetcat/v1/relay.ts'
import { RelayError } from '#relay/errors.ts'
import { liveDump } from '#wire/features.ts'
import { toProblem } from '#wire/problem.ts'
import { openDumpQueue } from './dump-queue.ts'
import type { DumpSubject } from './dump-subject.ts'
import type { Host, Hosts } from './hosts.ts'
import type { Mirror } from './mirror.ts'
import type { AgentSession } from './session.ts'

/** Where the frames of one agent go. The agent's stream reads no further before `taken` is called. */
export interface DumpLeg {
  frames(frames: DumpFrames, taken: () => void): void
  /** The agent has no more to show. Only the first word counts. */
  ended(problem: Problem): void
  /** Aborts when nobody looks any more. */
  readonly over: AbortSignal
}

/** One live dump: several agents, one operator. */
export interface Dump extends Disposable {
  /** Ends once no agent has more to show, or `close` is called. */
  take(): AsyncGenerator<WatchDumpResponse>
  close(): void
  /** The leg of an agent that was asked and has not answered yet. */
  answer(agent: string): DumpLeg | undefined
  readonly bytes: number
}

/** Each of them may have a message on the way here, of as much as the server takes. */
export const mostAgents = 32
/** An agent that was asked over a stream that is silently dead is given up after this. */
const answerWithinMs = 10_000
/** What the agents have to say of a relay that has ended comes within this, or not at all. */
const lastWordsMs = 1_000

interface Leg {
  readonly session: AgentSession
  answered: boolean
  over: boolean
  readonly impatience: NodeJS.Timeout
}

export function openDump(
  order: Pick<DumpOrder, 'dumpId' | 'direction' | 'by'>,
  { relay, connectionId, agents }: DumpSubject,
  { mirror, hosts }: { mirror: Mirror; hosts: Hosts },
): Dump {
  const legs = new Map<string, Leg>()
  const queue = openDumpQueue<WatchDumpResponse>()
  const over = new AbortController()
  let bytes = 0
  let lastWords: NodeJS.Timeout | undefined

  /** An agent that comes, or comes back, is asked too. One that hands over its session goes on by itself. */
  function look(): void {
    if (!mirror.relaysById.has(relay.id)) {
      lastWords ??= setTimeout(() => {
        for (const [agent, leg] of legs) end(agent, leg, revoked(relay))
      }, lastWordsMs)
      return
    }
    for (const agent of agents()) {
      const host = hosts.get(agent)
      const leg = legs.get(agent)
      const isNew = leg ? leg.over && leg.session !== host?.session : legs.size < mostAgents
      if (host?.session && isNew) ask(host, host.session)
    }
  }

  function ask(host: Host, session: AgentSession): void {
    const { name } = host
    const impatience = setTimeout(() => end(name, leg, silent(name)), answerWithinMs)
    const leg: Leg = { session, answered: false, over: false, impatience }
    legs.set(name, leg)
    if (host.hello?.features.includes(liveDump)) session.dump({ ...order, relayId: relay.id, connectionId })
    else end(name, leg, unable(host, relay))
  }

  function end(agent: string, leg: Leg, problem: Problem): void {
    if (leg.over) return
    leg.over = true
    clearTimeout(leg.impatience)
    queue.put({ message: { $case: 'ended', value: { agent, problem } } })
    if ([...legs.values()].every(each => each.over)) queue.close()
  }

  const stop = [hosts.onChange(look), mirror.onChange(look)]
  look()

  return {
    take: queue.take,
    close: queue.close,
    get bytes() {
      return bytes
    },
    answer(agent) {
      const leg = legs.get(agent)
      if (!leg || leg.over || leg.answered) return undefined
      leg.answered = true
      clearTimeout(leg.impatience)
      return {
        over: over.signal,
        frames({ frames }, taken) {
          for (const { data } of frames) bytes += data.length
          queue.put({ message: { $case: 'dump', value: { agent, frames } } }, taken)
        },
        ended: problem => end(agent, leg, problem),
      }
    },
    [Symbol.dispose]() {
      for (const each of stop) each()
      clearTimeout(lastWords)
      for (const { impatience } of legs.values()) clearTimeout(impatience)
      queue.close()
      over.abort()
    },
  }
}

const unable = ({ hello, name }: Host, relay: Relay) =>
  toProblem(
    new RelayError('unsupported', {
      what: `relay/${relay.name} on ${name}`,
      why: `the agent there runs version ${hello?.version}, which shows nobody what passes`,
      fix: 'Update fleetcat on that host',
    }),
  )

const silent = (agent: string) =>
  toProblem(
    new RelayError('timed-out', {
      what: `agent/${agent}`,
      why: `it did not answer within ${answerWithinMs / 1_000} s`,
    }),
  )

const revoked = ({ name }: Relay) =>
  toProblem(new RelayError('revoked', { what: `relay/${name}`, why: 'it has been revoked' }))

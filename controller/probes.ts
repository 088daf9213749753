import { randomUUID } from 'node:crypto'
import type { ProbeAnswer } from '#gen/fleetcat/v1/agent.ts'
import type { ProbeRequest, ProbeResponse } from '#gen/fleetcat/v1/operator.ts'
import { Relay } from '#gen/fleetcat/v1/relay.ts'
import { bindProbed } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'
import { toDuration, toMilliseconds } from '#wire/duration.ts'
import { longestProbeMs, shortestProbeMs } from '#wire/probe.ts'
import { type Actor, actorFields } from './actor.ts'
import type { Ledger } from './audit/ledger.ts'
import type { Hosts } from './hosts.ts'
import { checkJoined } from './joined.ts'
import type { Mirror } from './mirror.ts'
import type { Placement } from './placement.ts'
import { openProbe, type Probe } from './probe.ts'

/** Operators ask which hosts can reach a target: each agent looks, inside its own ceiling, and nothing is kept. */
export interface Probes {
  run(request: ProbeRequest, caller: Actor, signal: AbortSignal): AsyncGenerator<ProbeResponse>
  /** An agent's word. One that nobody waits for any more is passed over. */
  answer(agent: string, answer: ProbeAnswer): void
}

const mostOfOneCaller = 8
/** Names in one row of the audit log; it says how many there were. */
const mostNamed = 100

interface Parts {
  readonly mirror: Mirror
  readonly hosts: Hosts
  readonly placement: Placement
  readonly ledger: Ledger
}

export function openProbes({ mirror, hosts, placement, ledger }: Parts): Probes {
  const open = new Map<string, { readonly caller: string; readonly probe: Probe | undefined }>()

  function checkRoom(caller: string): void {
    if ([...open.values()].filter(each => each.caller === caller).length < mostOfOneCaller) return
    throw new RelayError('exhausted', {
      what: 'probe',
      why: `${caller} has ${mostOfOneCaller} that are not over`,
      fix: 'Wait for one of them',
    })
  }

  function chosen({ agents, selector }: ProbeRequest): string[] {
    const what = 'probe'
    if (agents.length > 0 && selector) {
      const fix = 'Name the agents with --on, or choose them by label with -l'
      throw new RelayError('usage', { what, why: 'it has both agents and a selector', fix })
    }
    if (agents.length === 0 && !selector) {
      const why = 'it says neither which agents look nor a selector that finds them'
      throw new RelayError('usage', { what, why, fix: 'Add --on AGENT, or -l SELECTOR' })
    }
    checkJoined(mirror, agents)
    const found = placement.agentsOf(Relay.fromPartial({ spec: { agents, selector } })).sort()
    if (found.length > 0) return found
    throw new RelayError('not-found', {
      what: `selector \`${selector}\``,
      why: 'no agent matches it',
      fix: '`fleetcat agents -o wide` shows their labels',
    })
  }

  return {
    async *run(request, caller, signal) {
      const { address, selector, expectByte } = request
      bindProbed(address)
      const timeoutMs = timeoutOf(request)
      const agents = chosen(request)
      checkRoom(caller.name)

      const probeId = randomUUID()
      open.set(probeId, { caller: caller.name, probe: undefined })
      try {
        // Nobody has hosts open anything without its being on record.
        await ledger.write({
          by: caller,
          event: 'probed',
          fields: {
            probe: probeId,
            address,
            selector,
            agents: agents.slice(0, mostNamed),
            count: agents.length,
            timeoutMs,
          },
          words: 'an operator has agents open a target',
        })
        yield { message: { $case: 'begun', value: { agents } } }
        if (signal.aborted) return
        const { by } = actorFields(caller)
        const order = { probeId, address, timeout: toDuration(timeoutMs), expectByte, by }
        using probe = openProbe(order, agents, hosts)
        open.set(probeId, { caller: caller.name, probe })
        signal.addEventListener('abort', probe.close)
        yield* probe.take()
      } finally {
        open.delete(probeId)
      }
    },
    answer(agent, { probeId, result }) {
      if (result) open.get(probeId)?.probe?.answer(agent, result)
    },
  }
}

function timeoutOf({ timeout }: ProbeRequest): number {
  const ms = timeout ? toMilliseconds(timeout) : 0
  if (ms >= shortestProbeMs && ms <= longestProbeMs) return ms
  throw new RelayError('usage', {
    what: 'probe',
    why: `its timeout is not between ${shortestProbeMs} ms and ${longestProbeMs / 1_000} s`,
    fix: 'Write for example --timeout 2s',
  })
}

import type { ProbeOrder } from '#gen/fleetcat/v1/agent.ts'
import type { ProbeResponse } from '#gen/fleetcat/v1/operator.ts'
import { ProbeResult, ProbeVerdict } from '#gen/fleetcat/v1/relay.ts'
import { RelayError } from '#relay/errors.ts'
import { toMilliseconds } from '#wire/duration.ts'
import { probing } from '#wire/features.ts'
import { toProblem } from '#wire/problem.ts'
import { openDumpQueue } from './dump-queue.ts'
import type { Host, Hosts } from './hosts.ts'

/** One look of many agents at one target. */
export interface Probe extends Disposable {
  /** A result of each agent, as they come; ends with the last. */
  take(): AsyncGenerator<ProbeResponse>
  close(): void
  /** Counts once, and only of an agent that was asked. */
  answer(agent: string, result: ProbeResult): void
}

/** What an answer may take on its way, beyond what the look itself may. */
const onTheWayMs = 3_000

/**
 * Asks each of these agents once. Whoever is not attached, leaves, or does not answer in time is unreachable. One that
 * only hands over its session answers over the new one.
 */
export function openProbe(order: ProbeOrder, agents: readonly string[], hosts: Hosts): Probe {
  const queue = openDumpQueue<ProbeResponse>()
  /** Those that have not answered, and the boot that was asked. */
  const open = new Map<string, string>()
  const withinMs = toMilliseconds(order.timeout!) + onTheWayMs

  function settle(agent: string, result: ProbeResult): void {
    if (!open.delete(agent)) return
    queue.put({ message: { $case: 'result', value: { agent, result } } })
    if (open.size === 0) queue.close()
  }

  function ask(agent: string): void {
    const host = hosts.get(agent)
    if (!host?.session) settle(agent, unreachable(agent, 'it is not connected to the controller'))
    else if (!host.hello?.features.includes(probing)) settle(agent, unable(host))
    else {
      open.set(agent, host.session.bootId)
      host.session.probe(order)
    }
  }

  function look(): void {
    for (const [agent, bootId] of open) {
      const session = hosts.get(agent)?.session
      if (session?.bootId !== bootId) settle(agent, unreachable(agent, 'its session was lost meanwhile'))
    }
  }

  // All of them before any: the last that settles closes the queue.
  for (const agent of agents) open.set(agent, '')
  for (const agent of agents) ask(agent)
  const stop = hosts.onChange(look)
  const impatience = setTimeout(() => {
    const why = `it did not answer within ${withinMs / 1_000} s`
    for (const agent of [...open.keys()]) settle(agent, unreachable(agent, why))
  }, withinMs)

  return {
    take: queue.take,
    close: queue.close,
    answer: settle,
    [Symbol.dispose]() {
      stop()
      clearTimeout(impatience)
      queue.close()
    },
  }
}

function unreachable(agent: string, why: string): ProbeResult {
  const fix = '`fleetcat agents` shows how it fares'
  return result(ProbeVerdict.UNREACHABLE, new RelayError('unavailable', { what: `agent/${agent}`, why, fix }))
}

function unable({ name, hello }: Host): ProbeResult {
  const why = `the agent there runs version ${hello?.version}, which cannot probe`
  const fix = 'Update fleetcat on that host'
  return result(ProbeVerdict.UNSUPPORTED, new RelayError('unsupported', { what: `agent/${name}`, why, fix }))
}

const result = (verdict: ProbeVerdict, error: RelayError): ProbeResult => ({
  ...ProbeResult.fromPartial({}),
  verdict,
  problem: toProblem(error),
})

import type { OperatorServiceClient, ProbeRequest } from '#gen/fleetcat/v1/operator.ts'
import { RelayError } from '#relay/errors.ts'
import { messages } from '#wire/call.ts'
import { exitCodes } from './exit-codes.ts'
import { isAnswer, type ProbeItem, pendingItem, probeItem } from './views/probe.ts'

/** Sees a round as it goes: first who is asked, then each answer. */
export interface ProbeOnlooker {
  begun(asked: readonly ProbeItem[]): void
  answered(item: ProbeItem): void
}

/** One look of each agent. Resolves with one item of each, by name. */
export async function probeOnce(
  operator: OperatorServiceClient,
  request: ProbeRequest,
  onlooker: ProbeOnlooker,
): Promise<ProbeItem[]> {
  const what = `probe ${request.address}`
  const items = new Map<string, ProbeItem>()
  for await (const { message } of messages(operator.probe(request), what)) {
    if (message?.$case === 'begun') {
      for (const agent of message.value.agents) items.set(agent, pendingItem(request.address, agent))
      onlooker.begun([...items.values()])
    } else if (message?.$case === 'result') {
      const item = probeItem(request.address, message.value)
      items.set(item.agent, item)
      onlooker.answered(item)
    }
  }
  const found = [...items.values()]
  if (found.length > 0 && found.every(({ at }) => at !== null)) return found
  throw new RelayError('unavailable', { what, why: 'the controller ended it before all had answered' })
}

/** What a script reads. Whoever did not answer may have seen anything, so that goes before what others have seen. */
export function exitCodeFor(items: readonly ProbeItem[]): number {
  if (!items.every(isAnswer)) return exitCodes.partial
  return items.every(({ verdict }) => verdict === 'open') ? exitCodes.ok : exitCodes.failed
}

import type { OperatorServiceClient } from '#gen/fleetcat/v1/operator.ts'
import type { Revocation } from '#gen/fleetcat/v1/relay.ts'
import { RelayError } from '#relay/errors.ts'
import { parseCidr } from '#relay/ip.ts'
import { messages, unary } from '#wire/call.ts'
import { formatDuration } from './duration.ts'
import { progress } from './output/progress.ts'
import type { Target } from './target.ts'

/**
 * The order that a wait for the revocation of this target is about. A relay that is there now is waited for; an older
 * one of its name says nothing of it. Of what is gone, it is the latest order.
 */
export async function revocationOf(
  operator: OperatorServiceClient,
  { kind, id, text }: Target,
  timeoutMs: number,
): Promise<string> {
  const relay = kind === 'relay' ? await liveRelay(operator, id) : undefined
  // Of a network there are several spellings, and one is kept.
  const kept = kind === 'source' ? `source/${parseCidr(id).text}` : text
  if (!relay) return lastOrder(operator, text, ({ target }) => target === kept)
  await untilGone(operator, relay, text, timeoutMs)
  return lastOrder(operator, text, ({ targetId }) => targetId === relay)
}

async function liveRelay(operator: OperatorServiceClient, name: string): Promise<string | undefined> {
  const filter = { selector: '', agent: '', name }
  const { relays } = await unary(operator, operator.listRelays, { filter }, { what: 'list the relays' })
  return relays[0]?.relay?.id
}

async function untilGone(
  operator: OperatorServiceClient,
  id: string,
  text: string,
  timeoutMs: number,
): Promise<void> {
  using waiting = progress()
  const stream = operator.watchRelays({ filter: { selector: '', agent: '', name: id } })
  let overdue = false
  const timer = setTimeout(() => {
    overdue = true
    stream.cancel()
  }, timeoutMs)
  try {
    for await (const { relays } of messages(stream, `wait for ${text}`)) {
      if (relays.length === 0) return
      waiting.say(`${text}: not revoked yet…`)
    }
  } catch (thrown) {
    if (!overdue) throw thrown
  } finally {
    clearTimeout(timer)
  }
  throw new RelayError(overdue ? 'timed-out' : 'unavailable', {
    what: text,
    why: overdue
      ? `it was not revoked within ${formatDuration(timeoutMs)}`
      : 'the controller ended the watch',
    fix: overdue ? `Revoke it: fleetcat revoke ${text}` : `Ask again: fleetcat wait ${text} --for revoked`,
  })
}

async function lastOrder(
  operator: OperatorServiceClient,
  text: string,
  isIt: (revocation: Revocation) => boolean,
): Promise<string> {
  const request = { id: '', target: text }
  const answer = await unary(operator, operator.listRevocations, request, { what: 'list the revocations' })
  const found = answer.revocations.flatMap(({ revocation }) =>
    revocation && isIt(revocation) ? [revocation] : [],
  )
  const last = found.sort((a, b) => (a.at?.getTime() ?? 0) - (b.at?.getTime() ?? 0)).at(-1)
  if (last) return last.id
  throw new RelayError('not-found', {
    what: text,
    why: 'it was never revoked',
    fix: `Revoke it: fleetcat revoke ${text}`,
  })
}

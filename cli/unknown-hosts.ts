import type { OperatorServiceClient } from '#gen/fleetcat/v1/operator.ts'
import { nearest } from '#relay/nearest.ts'
import { unary } from '#wire/call.ts'
import { note } from './failure.ts'

/** In front of an address, or of either half of a dual one. */
const host = /(?:^|!!)@([^/]+)\//g

/**
 * Says which of these addresses are on hosts that are not in the fleet. They may join later, so it is no mistake; but until
 * then whoever comes is turned away, and does not hear why.
 */
export async function noteUnknownHosts(
  operator: OperatorServiceClient,
  addresses: readonly string[],
): Promise<void> {
  const hosts = new Set(
    addresses.flatMap(text => [...text.matchAll(host)].map(([, name = '']) => name.toLowerCase())),
  )
  if (hosts.size === 0) return
  const request = { selector: '', name: '' }
  const { agents } = await unary(operator, operator.listAgents, request, { what: 'list the agents' })
  const names = agents.map(({ name }) => name)
  for (const name of hosts) {
    if (names.includes(name)) continue
    const near = nearest(name, names)
    note(
      `There is no agent ${name} yet${near ? `. Did you mean @${near}?` : '; what is there opens when it has joined.'}`,
    )
  }
}

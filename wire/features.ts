import type { Desired } from '#gen/fleetcat/v1/agent.ts'

/** The settings of a relay that came after the first version of the contract. */
const settings = [
  'balance',
  'health',
  'unidirectional',
  'timestamp',
  'throttle',
  'tee',
  'dump',
  'lease',
  'windows',
] as const satisfies readonly (keyof Desired)[]

/** Those that go by another name on the wire, or stand deeper in it. */
const others: Record<string, (desired: Desired) => unknown> = {
  ttl: ({ expiresIn }) => expiresIn,
  'ban-after': ({ limits }) => limits?.ban,
  tunnels: ({ targets, tee }) => [...targets, ...tee].some(address => address.startsWith('@')),
}

/** It can show an operator what passes through its relays. */
export const liveDump = 'live-dump'

/** It can open a target once and say how it went. */
export const probing = 'probe'

/** It opens and answers tunnels. */
export const tunnels = 'tunnels'

/**
 * What a build of this contract understands. A message drops in silence what its reader does not know, and then a relay
 * would run without what was asked of it: so each agent says what it knows, and is sent nothing else.
 */
export const features: readonly string[] = [...settings, ...Object.keys(others), liveDump, probing]

/** What an agent has to understand to run this. */
export function featuresOf(desired: Desired): string[] {
  const deeper = Object.keys(others).filter(name => isSet(others[name]?.(desired)))
  return [...settings.filter(name => isSet(desired[name])), ...deeper]
}

function isSet(value: unknown): boolean {
  return Array.isArray(value) ? value.length > 0 : Boolean(value)
}

import type { Address } from './address.ts'
import type { EgressPolicy } from './endpoint.ts'
import { RelayError } from './errors.ts'
import { alwaysDenied, canonicalIp } from './ip.ts'

/** Does the host's owner name exactly this target? A pattern that merely covers it is not enough. */
export type NamedExactly = (address: Address, ip: string) => boolean

/** A policy with the targets that are always denied in front of it. Only an owner who names one lifts that. */
export function guardEgress(policy: EgressPolicy, named: NamedExactly = () => false): EgressPolicy {
  const guard = (address: Address, ip: string | undefined) => {
    const why = ip === undefined ? undefined : remembered(ip)
    if (ip === undefined || why === undefined || named(address, ip)) return
    throw new RelayError('denied', {
      what: ip === address.args[0] ? address.text : `${address.text} (${ip})`,
      why,
      fix: `If this host's owner means it, the ceiling must name exactly \`${ip}\``,
    })
  }
  return {
    check(address, ip) {
      guard(address, ip)
      policy.check(address, ip)
    },
    checkForbidden: address => policy.checkForbidden?.(address),
    checkLed: (address, led) => policy.checkLed?.(address, led),
    checkBeyond(address) {
      guard(address, canonicalIp(address.args[0]!))
      policy.checkBeyond?.(address)
    },
  }
}

/** All targets but those that are always denied: for a relay that its own user runs by hand. */
export const openEgress: EgressPolicy = guardEgress({ check() {} })

/** All targets: for a relay of whoever sits at this host, who may open them without us too. */
export const ownEgress: EgressPolicy = { check() {} }

/** A busy relay asks about the same few targets thousands of times a second, and the answer never changes. */
const answers = new Map<string, string | undefined>()
const mostAnswers = 1_024

function remembered(ip: string): string | undefined {
  if (answers.has(ip)) return answers.get(ip)
  if (answers.size >= mostAnswers) answers.clear()
  const why = alwaysDenied(ip)
  answers.set(ip, why)
  return why
}

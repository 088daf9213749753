import type { TunnelGrant } from '#gen/fleetcat/v1/relay.ts'
import { type HostPort, parseHostPort } from './host-port.ts'
import { fromProblem } from './problem.ts'

/** The right to open a tunnel, as the controller gives it. Throws the RelayError that it gives instead. */
export function fromGrant({ tunnelId, ticket, agent, straight, problem }: TunnelGrant, what: string) {
  if (problem) throw fromProblem(problem).within(what)
  return {
    tunnelId,
    ticket,
    peer: { kind: 'agent' as const, name: agent },
    straight: straight.map(text => parsePlace(text)),
  }
}

/** Where initiators may come straight. Throws a RelayError `usage`. */
export function parsePlace(text: string, what = `address ${text}`): HostPort {
  return parseHostPort(text, { what, fix: 'Write for example 10.0.0.5:7444', anyHost: '0.0.0.0' })
}

export function isUnspecified(host: string): boolean {
  return host === '0.0.0.0' || host === '::'
}

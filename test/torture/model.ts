import type { KernelSocket } from '../resources/kernel-sockets.ts'

/** Where the targets of a host listen. */
export const targetPort = 7000
/** The two sources that clients come from. */
export const sources = ['127.0.0.1', '127.0.0.9'] as const

export interface ModelRelay {
  readonly name: string
  readonly id: string
  readonly port: number
  readonly leaseMs: number
}

export interface ModelTalk {
  readonly id: number
  readonly relay: ModelRelay
  readonly from: string
  readonly localPort: number
}

/** What of one host was revoked. */
export type Revoked =
  | { readonly what: 'relay'; readonly relay: ModelRelay }
  | { readonly what: 'conn'; readonly talk: ModelTalk; readonly connectionId: string }
  | { readonly what: 'source'; readonly relay: ModelRelay; readonly from: string }
  | { readonly what: 'agent'; readonly agent: string }

/** The name of what was revoked, as an order has it. */
export function targetOf(revoked: Revoked): string {
  switch (revoked.what) {
    case 'relay':
      return `relay/${revoked.relay.name}`
    case 'conn':
      return `conn/${revoked.connectionId}`
    case 'source':
      return `source/${revoked.from}/32`
    case 'agent':
      return `agent/${revoked.agent}`
  }
}

/** The talks through which nothing may pass any more. */
export function talksOf(revoked: Revoked, talks: readonly ModelTalk[]): ModelTalk[] {
  switch (revoked.what) {
    case 'relay':
      return talks.filter(({ relay }) => relay === revoked.relay)
    case 'conn':
      return [revoked.talk]
    case 'source':
      return talks.filter(({ relay, from }) => relay === revoked.relay && from === revoked.from)
    case 'agent':
      return [...talks]
  }
}

/** The sockets of its agent that may not be there any more. */
export function forbidden(revoked: Revoked, sockets: readonly KernelSocket[]): KernelSocket[] {
  switch (revoked.what) {
    case 'relay':
      return sockets.filter(({ localPort }) => localPort === revoked.relay.port)
    case 'conn':
      return sockets.filter(
        ({ localPort, remotePort }) =>
          localPort === revoked.talk.relay.port && remotePort === revoked.talk.localPort,
      )
    case 'source':
      return sockets.filter(
        ({ localPort, remote }) => localPort === revoked.relay.port && remote.startsWith(`${revoked.from}:`),
      )
    case 'agent':
      return sockets.filter(({ listens, remotePort }) => listens || remotePort === targetPort)
  }
}

/** The ports that an agent listens on and should not: all that it has been told to run are allowed. */
export function unknownListeners(
  allowed: readonly ModelRelay[],
  sockets: readonly KernelSocket[],
): readonly number[] {
  const ports = new Set(allowed.map(({ port }) => port))
  return sockets
    .filter(({ listens, localPort }) => listens && !ports.has(localPort))
    .map(each => each.localPort)
}

import { X509Certificate } from 'node:crypto'
import { identityOf } from '#identity/name.ts'
import { RelayError } from '#relay/errors.ts'
import { type Actor, strangerAt } from './actor.ts'
import type { Alerts } from './alerts.ts'

/** A call, of which only the connection counts here. */
interface Call {
  getAuthContext(): { sslPeerCertificate?: { raw: Buffer } }
  getPeer(): string
}

/** Notes the calls that were refused for who made them, or for what is shut out; a mere mistake is none of them. */
export type Refusals = (call: Call, method: string, thrown: unknown) => void

const codes: readonly string[] = ['denied', 'unauthenticated', 'revoked']

export function openRefusals(alerts: Alerts): Refusals {
  return (call, method, thrown) => {
    if (!(thrown instanceof RelayError) || !codes.includes(thrown.code)) return
    const by = callerOf(call)
    alerts.raise(`${by.kind}/${by.name} ${method}`, {
      by,
      event: 'access.denied',
      outcome: 'refused',
      target: targetIn(thrown.what),
      fields: { method, code: thrown.code, what: thrown.what, why: thrown.why },
      words: 'a call was denied',
    })
  }
}

/** By the certificate alone: whether it is good for anything is another question. */
function callerOf(call: Call): Actor {
  const raw = call.getAuthContext().sslPeerCertificate?.raw
  const peer = call.getPeer()
  if (!raw) return strangerAt(peer)
  try {
    const { kind, name } = identityOf(new X509Certificate(raw))
    return kind === 'agent' || kind === 'operator' ? { kind, name, peer } : strangerAt(peer)
  } catch {
    return strangerAt(peer)
  }
}

const targetIn = (what: string) => /\b(?:relay|agent|operator|source|conn)\/\S+/.exec(what)?.[0] ?? ''

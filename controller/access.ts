import { X509Certificate } from 'node:crypto'
import type { OperatorServiceService } from '#gen/fleetcat/v1/operator.ts'
import { fingerprintOf } from '#identity/keys.ts'
import { identityOf } from '#identity/name.ts'
import { RelayError } from '#relay/errors.ts'
import { type Actor, strangerAt } from './actor.ts'
import type { Alerts } from './alerts.ts'
import type { Mirror } from './mirror.ts'
import { type Role, roles } from './records.ts'
import { parseTarget, type TargetKind } from './target.ts'

/** Who makes a call. All of it comes from the verified certificate. */
export interface Caller extends Actor {
  readonly kind: 'agent' | 'operator'
  readonly expiresAt: Date
}

/** What a call must show of its connection. */
interface Call {
  getAuthContext(): { sslPeerCertificate?: { raw: Buffer } }
  getPeer(): string
}

/** Lets a call in, or throws a RelayError that says why not. The only place where that is decided. */
export interface Access {
  operator(call: Call, method: string): Caller
  agent(call: Call, method: string): Caller
  /** Throws when this operator may not revoke, or let in again, what the target names; or when it makes no sense. */
  mayRevoke(caller: Caller, target: string): void
  /** Throws when this operator may not change relays. To ask what would change, whoever may list them may. */
  mayApply(caller: Caller, dryRun: boolean): void
}

/** Who strikes an agent or an operator off decides who is in the fleet; so only those may who also let them in. */
const leastToRevoke: Record<TargetKind, Role> = {
  relay: 'operator',
  conn: 'operator',
  source: 'operator',
  agent: 'admin',
  operator: 'admin',
}

/** The least role that may call each method. A method that is missing here does not compile. */
const least: Record<keyof OperatorServiceService, Role> = {
  getStatus: 'viewer',
  whoAmI: 'viewer',
  renewCertificate: 'viewer',
  listRelays: 'viewer',
  watchRelays: 'viewer',
  listAgents: 'viewer',
  watchAgents: 'viewer',
  listConnections: 'viewer',
  watchConnections: 'viewer',
  watchRevocation: 'viewer',
  listRevocations: 'viewer',
  // Whoever may open a relay could have it copy all that passes; whoever may only look at lists could not.
  watchDump: 'operator',
  // It has hosts open what their ceilings let relays open.
  probe: 'operator',
  // A relay of its own, but for its listener.
  openTunnel: 'operator',
  createRelay: 'operator',
  // Of those who only ask what would change: see `mayApply`.
  applyRelays: 'viewer',
  revoke: 'operator',
  lift: 'operator',
  createToken: 'admin',
  listTokens: 'admin',
  revokeToken: 'admin',
  // It tells who let whom in, and from where.
  readAudit: 'operator',
}

export function openAccess({
  cluster,
  mirror,
  alerts,
}: {
  cluster: string
  mirror: Mirror
  alerts: Alerts
}): Access {
  function known(call: Call, method: string, wanted: 'agent' | 'operator'): Caller {
    const raw = call.getAuthContext().sslPeerCertificate?.raw
    if (!raw)
      throw new RelayError('unauthenticated', { what: method, why: 'the call came without a certificate' })
    const certificate = new X509Certificate(raw)
    const identity = identityOf(certificate)
    const { kind, name } = identity
    if (identity.cluster !== cluster || kind !== wanted) {
      const peer = call.getPeer()
      alerts.raise(`${kind}/${name} ${method}`, {
        by: kind === 'agent' || kind === 'operator' ? { kind, name, peer } : strangerAt(peer),
        event: 'alert.wrong-kind',
        outcome: 'alert',
        fields: { kind, name, method, peer },
        words: 'a call with the wrong kind of certificate',
      })
      throw new RelayError('denied', {
        what: method,
        why: `a certificate of ${kind}/${name} does not serve for it`,
      })
    }
    const record = (kind === 'agent' ? mirror.agents : mirror.operators).get(name)?.value
    const fix = 'Ask an admin for a new token'
    if (!record) {
      throw new RelayError('unauthenticated', {
        what: `${kind}/${name}`,
        why: 'the controller knows none of this name',
        fix,
      })
    }
    if (record.revoked) {
      const { by, at, reason } = record.revoked
      throw new RelayError('revoked', {
        what: `${kind}/${name}`,
        why: `it was revoked by ${by} at ${at}${reason && `: ${reason}`}`,
        fix,
      })
    }
    const hash = fingerprintOf(certificate.publicKey)
    const dead = mirror.deadKeys.get(hash)?.value
    if (dead) {
      const why = `its key was revoked with ${dead.kind}/${dead.name} at ${dead.at}`
      throw new RelayError('revoked', { what: `${kind}/${name}`, why, fix })
    }
    if (!record.keys.some(key => key.hash === hash)) {
      throw new RelayError('unauthenticated', {
        what: `${kind}/${name}`,
        why: 'its key is not one of those that the controller let in: it was replaced by a later enrolment',
        fix: 'Ask an admin for a new token',
      })
    }
    const expiresAt = certificate.validToDate
    if (expiresAt.getTime() <= Date.now()) {
      throw new RelayError('unauthenticated', {
        what: `${kind}/${name}`,
        why: `its certificate ended at ${expiresAt.toISOString()}`,
      })
    }
    return { kind: wanted, name, peer: call.getPeer(), expiresAt }
  }

  function atLeast(caller: Caller, needed: Role, what: string): void {
    const role = mirror.operators.get(caller.name)?.value.role ?? 'viewer'
    if (roles.indexOf(role) >= roles.indexOf(needed)) return
    throw new RelayError('denied', {
      what,
      why: `${caller.name} has the role ${role}, and this needs ${needed}`,
      fix: `Ask an admin: fleetcat token create operator --name ${caller.name} --role ${needed}`,
    })
  }

  return {
    agent: (call, method) => known(call, method, 'agent'),
    operator(call, method) {
      const caller = known(call, method, 'operator')
      atLeast(caller, least[method as keyof typeof least] ?? 'admin', method)
      return caller
    },
    mayApply(caller, dryRun) {
      if (!dryRun) atLeast(caller, 'operator', 'applyRelays')
    },
    mayRevoke(caller, target) {
      atLeast(caller, leastToRevoke[parseTarget(target).kind], `revoke ${target}`)
    },
  }
}

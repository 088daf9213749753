import type { ServerDuplexStream } from '@grpc/grpc-js'
import type { AttachRequest, AttachResponse, Hello } from '#gen/fleetcat/v1/agent.ts'
import type { Caller } from './access.ts'
import { drained } from './drained.ts'
import type { Host } from './hosts.ts'
import type { Parts } from './parts.ts'
import { type AgentSession, openSession, resumeFrom } from './session.ts'

type Stream = ServerDuplexStream<AttachRequest, AttachResponse>

/**
 * The first word of an agent: an older session of it ends, and this one is told what to run. Nothing when this is a
 * process that another has taken over from: it is not told anything that it might then run.
 */
export function greet(
  parts: Parts,
  stream: Stream,
  caller: Caller,
  host: Host,
  hello: Hello,
  gone: AbortSignal,
  fail: (thrown: unknown) => void,
): AgentSession | undefined {
  const { hosts, leases, locks, mirror, placement, revocations, sightings, boots, comings, epoch } = parts
  const { name } = caller
  warnOfNewer(parts, caller, hello)
  const other = host.session
  if (other && other.bootId !== hello.bootId) {
    const late = boots.isLate(name, hello.bootId)
    alertDuplicate(parts, caller, late ? hello.bootId : other.bootId)
    if (late) return void dismiss(stream)
    other.goodbye('fenced')
  } else other?.goodbye('handed-over')

  // Other labels of its own may place other relays on it, and then the changes alone would not do.
  const sameLabels = sightings.areCurrent(name, hello.hostLabels)
  const theirs = { epoch: hello.epoch, rev: hello.revision }
  const resume = sameLabels ? resumeFrom(mirror, name, epoch, theirs) : undefined
  const clock = new Date()
  if (host.hello && host.hello.bootId !== hello.bootId) boots.superseded(name, host.hello.bootId)
  noteHello(host, hello, clock)
  host.peer = stream.getPeer()
  host.certificateExpiresAt = caller.expiresAt
  const session = openSession({
    agent: name,
    bootId: hello.bootId,
    features: hello.features,
    mirror,
    placement,
    resume,
    placed: sameLabels ? undefined : sightings.keep(host),
    failed: fail,
    bans: locks.bans,
    leased: () => leases.granted(name),
    pendingOrders: () => revocations.pendingFor(name),
    welcome: {
      $case: 'welcome',
      value: {
        cluster: parts.cluster,
        agent: name,
        labels: mirror.agents.get(name)?.value.labels ?? {},
        epoch,
        resumed: resume !== undefined,
        clock,
      },
    },
    outlet: {
      send: message => gone.aborted || stream.write(message),
      drained: () => drained(stream, gone),
      end: () => stream.end(),
    },
  })
  host.session = session
  hosts.changed()
  comings.attached(name, host.peer, { version: hello.version, resumed: resume !== undefined })
  if (sameLabels) void sightings.note(host)
  return session
}

/** An agent that has seen more than there is here: this controller is a copy of an older day. It will refuse us. */
function warnOfNewer({ alerts, epoch, mirror }: Parts, { name: agent, peer }: Caller, hello: Hello): void {
  const isNewer = hello.epoch > epoch || (hello.epoch === epoch && hello.seenRevision > mirror.rev)
  if (!isNewer) return
  alerts.raise(agent, {
    by: { kind: 'agent', name: agent, peer },
    event: 'alert.older-controller',
    outcome: 'alert',
    target: `agent/${agent}`,
    fields: {
      agent,
      epoch: hello.epoch,
      revision: hello.seenRevision,
      ours: { epoch, revision: mirror.rev },
    },
    words:
      'an agent has seen a newer state than this controller has: was it restored from a backup without `fleetcat controller restore`?',
  })
}

function noteHello(host: Host, hello: Hello, clock: Date): void {
  if (host.hello?.bootId !== hello.bootId) {
    // A new process: what the old one reported is over.
    host.reports.clear()
    host.connections.clear()
  }
  host.hello = hello
  host.lastHeardAt = clock
  host.clockAheadMs = hello.clock ? hello.clock.getTime() - clock.getTime() : 0
}

function dismiss(stream: Stream): void {
  stream.write({ message: { $case: 'goodbye', value: { reason: 'fenced' } } })
  stream.end()
}

function alertDuplicate({ alerts }: Parts, { name: agent, peer }: Caller, fenced: string): void {
  alerts.raise(`${agent} ${fenced}`, {
    by: { kind: 'agent', name: agent, peer },
    event: 'alert.duplicate-identity',
    outcome: 'alert',
    target: `agent/${agent}`,
    fields: { agent, fenced },
    words:
      'two processes use the identity of one agent: the one that was there first was fenced. If you did not copy its data directory, somebody else did',
  })
}

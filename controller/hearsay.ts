import type {
  ConnectionEvents,
  Hello,
  ProbeAnswer,
  RelayCertificateRequest,
  Remarks,
  SourcesBanned,
  TunnelNews,
} from '#gen/fleetcat/v1/agent.ts'
import {
  type DumpFrame,
  ProbeVerdict,
  type Problem,
  type Receipt,
  type RelayReport,
  RelayState,
} from '#gen/fleetcat/v1/relay.ts'
import { RelayError } from '#relay/errors.ts'
import { toMilliseconds } from '#wire/duration.ts'
import { mostHostLabels } from '#wire/labels.ts'

/**
 * What an agent says is kept and shown to operators, so it is checked first: an agent that is not ours any more must
 * neither fill the controller's memory nor break a list in which it is but one row.
 */
const mostText = 1_024
const mostId = 64
const mostLabelText = 256
/** Addresses and names that are only shown: what is longer is cut, for an honest host may have long ones. */
const mostShown = 300
const mostItems = 64
/** Of one relay; agents of ours tell of a quarter of it. */
const mostTargets = 1_024
/** Of each kind in one message; no agent of ours sends half as many. */
const mostInOneMessage = 10_000
/** Far more than any look may take, for a busy host is late. */
const mostProbeMs = 600_000

export function checkHello(hello: Hello): void {
  texts('Hello', [hello.version, hello.bootId], mostLabelText)
  texts('host labels', Object.entries(hello.hostLabels).flat(), mostLabelText)
  texts('capabilities', hello.capabilities, mostId)
  texts('features', hello.features, mostId)
  count('host labels', Object.keys(hello.hostLabels).length, mostHostLabels)
  count('capabilities', hello.capabilities.length, 4 * mostItems)
  count('features', hello.features.length, 4 * mostItems)
  dates('Hello', [hello.bootedAt, hello.clock])
}

export function checkReports(reports: readonly RelayReport[]): void {
  count('reports', reports.length, mostInOneMessage)
  for (const report of reports) checkReport(report)
}

function checkReport(report: RelayReport): void {
  const { trace, refusals, local, retryAt, targets } = report
  const what = `report of ${report.relayId.slice(0, mostId)}`
  texts(what, [report.relayId, ...Object.keys(refusals), ...trace.map(each => each.state)], mostId)
  count(`${what}: addresses`, local.length, mostItems)
  count(`${what}: transitions`, trace.length, mostItems)
  count(`${what}: refusals`, Object.keys(refusals).length, mostItems)
  count(`${what}: targets`, targets.length, mostTargets)
  dates(what, [retryAt, ...trace.map(each => each.at), ...targets.map(each => each.since)])
  if (!Object.values(RelayState).includes(report.state))
    throw wrong(what, `there is no state ${report.state}`)
  report.local = local.map(address => cut(address, mostShown))
  report.problem = cutProblem(report.problem)
  for (const target of targets) {
    target.address = cut(target.address, mostShown)
    target.problem = cutProblem(target.problem)
  }
}

export function checkReceipt(receipt: Receipt): void {
  texts('receipt', [receipt.revocationId], mostId)
  dates(`receipt for ${receipt.revocationId}`, [receipt.at])
  receipt.problem = cutProblem(receipt.problem)
  receipt.warning = cutProblem(receipt.warning)
}

export function checkBanned({ sources }: SourcesBanned): void {
  count('banned sources', sources.length, mostInOneMessage)
  for (const { relayId, cidr } of sources) texts('banned source', [relayId, cidr], mostId)
}

export function checkCertificateRequest({ relayId }: RelayCertificateRequest): void {
  texts('RelayCertificateRequest', [relayId], mostId)
}

/** How a probe went on its host; that an agent cannot be asked is not for it to say. */
const itsVerdicts: readonly ProbeVerdict[] = [
  ProbeVerdict.OPEN,
  ProbeVerdict.REFUSED,
  ProbeVerdict.TIMED_OUT,
  ProbeVerdict.SILENT,
  ProbeVerdict.UNRESOLVED,
  ProbeVerdict.TLS_ERROR,
  ProbeVerdict.DENIED,
  ProbeVerdict.FAILED,
]

export function checkProbeAnswer({ probeId, result }: ProbeAnswer): void {
  texts('ProbeAnswer', [probeId], mostId)
  if (!result) throw wrong('ProbeAnswer', 'it has no result')
  const { verdict, ip, resolve, connect, tls, firstByte, took } = result
  if (!itsVerdicts.includes(verdict))
    throw wrong('ProbeAnswer', `there is no verdict ${verdict} for an agent to say`)
  for (const span of [resolve, connect, tls, firstByte, took]) {
    const ms = span ? toMilliseconds(span) : 0
    if (!(ms >= 0 && ms <= mostProbeMs))
      throw wrong('ProbeAnswer', 'a time in it is not one that it can have taken')
  }
  result.ip = cut(ip, mostId)
  result.problem = cutProblem(result.problem)
}

export function checkRemarks({ remarks }: Remarks): void {
  count('remarks', remarks.length, mostInOneMessage)
  for (const remark of remarks) {
    texts('remark', [remark.relayId, remark.connectionId, remark.event], mostId)
    dates('remark', [remark.at])
    remark.subject = cut(remark.subject, mostShown)
    remark.text = cut(remark.text, mostShown)
  }
}

export function checkTunnelNews({ tunnelId, relayId }: TunnelNews): void {
  texts('TunnelNews', [tunnelId, relayId], mostId)
}

export function checkFrames(frames: readonly DumpFrame[]): void {
  count('frames', frames.length, mostInOneMessage)
  for (const frame of frames) {
    texts('frame', [frame.connectionId], mostId)
    dates('frame', [frame.at])
    frame.source = cut(frame.source, mostShown)
    frame.target = cut(frame.target, mostShown)
  }
}

export function checkConnections({ opened, closed, traffic }: ConnectionEvents): void {
  for (const { length } of [opened, closed, traffic]) count('connection events', length, mostInOneMessage)
  for (const connection of opened) {
    texts('connection', [connection.id, connection.relayId], mostId)
    dates('connection', [connection.openedAt])
    connection.source = cut(connection.source, mostShown)
    connection.target = cut(connection.target, mostShown)
    connection.tlsIdentity = cut(connection.tlsIdentity, mostShown)
  }
}

function cutProblem(problem: Problem | undefined): Problem | undefined {
  return problem && checkProblem(problem)
}

export function checkProblem(problem: Problem): Problem {
  const { code, what, why, fix } = problem
  return {
    code: cut(code, mostId),
    what: cut(what, mostText),
    why: cut(why, mostText),
    fix: cut(fix, mostText),
  }
}

/** A copy, for a part of a string would keep the whole of it in memory. */
function cut(text: string, most: number): string {
  return text.length <= most ? text : Buffer.from(`${text.slice(0, most - 1)}…`).toString()
}

function texts(what: string, all: readonly string[], most: number): void {
  if (all.some(text => text.length > most))
    throw wrong(what, `a text in it is longer than ${most} characters`)
}

function count(what: string, given: number, most: number): void {
  if (given > most) throw wrong(what, `${given} are more than ${most}`)
}

/** A moment that no Date can hold could not even be sent on. */
export function dates(what: string, all: readonly (Date | undefined)[]): void {
  if (all.some(date => date && Number.isNaN(date.getTime()))) throw wrong(what, 'a date in it is no date')
}

const wrong = (what: string, why: string) => new RelayError('usage', { what, why })

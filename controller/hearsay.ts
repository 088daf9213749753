import type { ConnectionEvents, Hello } from '#gen/fleetcat/v1/agent.ts'
import { type Connection, type Receipt, type RelayReport, RelayState } from '#gen/fleetcat/v1/relay.ts'
import { RelayError } from '#relay/errors.ts'
import { mostHostLabels } from '#wire/labels.ts'

/**
 * What an agent says is kept and shown to operators, so it is checked first: an agent that is not ours any more must
 * neither fill the controller's memory nor break a list in which it is but one row.
 */
const mostText = 1_024
const mostItems = 64
/** Live connections of one agent; well above what one host's descriptors allow. */
export const mostConnections = 100_000

export function checkHello(hello: Hello): void {
  texts('Hello', [
    hello.version,
    hello.bootId,
    ...Object.entries(hello.hostLabels).flat(),
    ...hello.capabilities,
  ])
  count('host labels', Object.keys(hello.hostLabels).length, mostHostLabels)
  count('capabilities', hello.capabilities.length, 4 * mostItems)
  dates('Hello', [hello.bootedAt, hello.clock])
}

export function checkReport(report: RelayReport): void {
  const { problem, trace, refusals, local, retryAt } = report
  const what = `report of ${report.relayId}`
  texts(what, [...local, ...Object.keys(refusals), ...trace.map(each => each.state)])
  if (problem) texts(what, [problem.code, problem.what, problem.why, problem.fix], 8 * mostText)
  count(`${what}: addresses`, local.length, mostItems)
  count(`${what}: transitions`, trace.length, mostItems)
  count(`${what}: refusals`, Object.keys(refusals).length, mostItems)
  dates(what, [retryAt, ...trace.map(each => each.at)])
  if (!Object.values(RelayState).includes(report.state))
    throw wrong(what, `there is no state ${report.state}`)
}

export function checkReceipt({ revocationId, problem, at }: Receipt): void {
  const what = `receipt for ${revocationId}`
  if (problem) texts(what, [problem.code, problem.what, problem.why, problem.fix], 8 * mostText)
  dates(what, [at])
}

export function checkConnections({ opened }: ConnectionEvents): void {
  for (const connection of opened) checkConnection(connection)
}

function checkConnection({ id, relayId, source, target, tlsIdentity, openedAt }: Connection): void {
  texts('connection', [id, relayId, source, target, tlsIdentity])
  dates('connection', [openedAt])
}

function texts(what: string, all: readonly string[], most = mostText): void {
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

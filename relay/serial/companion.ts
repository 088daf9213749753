import { RelayError } from '../errors.ts'
import type { LineCounters } from './port.ts'
import { type Presence, readStanding, type Standing } from './standing.ts'
import { subnegotiationBytes, telnetOptions } from './telnet.ts'

/**
 * What fleetcat says to fleetcat about a shared port, within the telnet option of RFC 2217 and beyond its codes. Nothing
 * of it is said to a client that has not begun with it.
 */
export const companionCodes = { hello: 64, takeOver: 65, told: 66, errors: 70 } as const
type Topic = keyof typeof companionCodes

const answerOffset = 100
/** A telnet peer that is careful reads no more at a time. */
const mostBytes = 1_000

export const isCompanion = (code: number): boolean =>
  Object.values(companionCodes).some(each => each === code)

/** Of a client. */
export function wishBytes(topic: 'hello' | 'takeOver' | 'errors'): Buffer {
  return subnegotiationBytes(telnetOptions.comPort, Buffer.of(companionCodes[topic]))
}

function answerBytes(topic: Topic, words: object): Buffer {
  const payload = [Buffer.of(companionCodes[topic] + answerOffset), Buffer.from(JSON.stringify(words))]
  return subnegotiationBytes(telnetOptions.comPort, Buffer.concat(payload))
}

/** What a server answers to `hello`, and says again whenever it has changed. */
export function standingBytes(standing: Standing, topic: 'hello' | 'takeOver' = 'hello'): Buffer {
  const all = standing.present.map(each => ({ ...each, who: short(each.who, 200) }))
  const kept = new Set<Presence>()
  let room = mostBytes - JSON.stringify({ ...standing, present: [] }).length
  // Who writes, and who is told, are never left out.
  const rank = ({ writes, you }: Presence) => (writes || you ? 0 : 1)
  for (const each of all.toSorted((a, b) => rank(a) - rank(b))) {
    room -= Buffer.byteLength(JSON.stringify(each)) + 1
    if (room < 0) break
    kept.add(each)
  }
  return answerBytes(topic, { ...standing, present: all.filter(each => kept.has(each)) })
}

export const toldBytes = (text: string): Buffer => answerBytes('told', { text: short(text, mostBytes - 50) })

/** What the device has counted; undefined: it counts nothing. */
export const errorsBytes = (counts: LineCounters | undefined): Buffer => answerBytes('errors', { counts })

export function refusalBytes({ what, why, fix }: RelayError): Buffer {
  const refused = { what: short(what, 300), why: short(why, 300), fix: short(fix, 300) }
  return answerBytes('takeOver', { refused })
}

/** As much of a text as takes so many bytes in JSON. */
function short(text: string, bytes: number): string {
  let kept = text.slice(0, bytes)
  while (Buffer.byteLength(JSON.stringify(kept)) > bytes) kept = kept.slice(0, -4)
  return kept
}

export type CompanionAnswer =
  | { readonly topic: 'hello' | 'takeOver'; readonly standing: Standing }
  | { readonly topic: 'takeOver'; readonly refused: RelayError }
  | { readonly topic: 'told'; readonly text: string }
  | { readonly topic: 'errors'; readonly counts?: LineCounters }

/** Of the payload of a subnegotiation. Undefined: nothing that a server of ours says. */
export function readAnswer(payload: Buffer): CompanionAnswer | undefined {
  const code = (payload[0] ?? 0) - answerOffset
  const topic = (Object.keys(companionCodes) as Topic[]).find(each => companionCodes[each] === code)
  if (!topic) return undefined
  const words = wordsOf(payload.subarray(1))
  if (!words) return undefined
  if (topic === 'told') return typeof words.text === 'string' ? { topic, text: words.text } : undefined
  if (topic === 'errors') return { topic, ...(isCounts(words.counts) && { counts: words.counts }) }
  const standing = readStanding(words)
  if (standing) return { topic, standing }
  const { refused } = words as { refused?: Record<string, unknown> }
  if (topic === 'hello' || typeof refused !== 'object' || refused === null) return undefined
  const text = (value: unknown) => (typeof value === 'string' ? value : '')
  const parts = { what: text(refused.what), why: text(refused.why), fix: text(refused.fix) }
  return { topic, refused: new RelayError('denied', parts) }
}

/** Of what another host has sent. */
export function isCounts(value: unknown): value is LineCounters {
  if (typeof value !== 'object' || value === null) return false
  const { frame, overrun, parity, breaks } = value as Record<string, unknown>
  return [frame, overrun, parity, breaks].every(each => typeof each === 'number')
}

function wordsOf(payload: Buffer): Record<string, unknown> | undefined {
  try {
    const words: unknown = JSON.parse(payload.toString('utf8'))
    return typeof words === 'object' && words !== null ? (words as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

import { randomBytes } from 'node:crypto'

/**
 * The right to open one tunnel, once and soon: the controller mints it for one initiator and one answering agent. It is
 * no secret to keep: whoever reads it on its way can spoil that one opening, and cannot be taken for either end.
 */
export type Ticket = string

/** How long a ticket is good for. */
export const ticketMs = 10_000

const alphabet = 'abcdefghijklmnopqrstuvwxyz234567'
const form = /^[a-z2-7]{52}$/
const suffix = '.tunnel.fleetcat'
const greeting = 'FCAT/1 '

/** 256 random bits in letters and digits of one case: a label of a DNS name may have 63. */
export function newTicket(): Ticket {
  let text = ''
  let held = 0
  let bits = 0
  for (const byte of randomBytes(32)) {
    held = (held << 8) | byte
    for (bits += 8; bits >= 5; bits -= 5) text += alphabet[(held >> (bits - 5)) & 31]
    held &= (1 << bits) - 1
  }
  return text + alphabet[(held << (5 - bits)) & 31]
}

/** What the initiator's ClientHello asks for. */
export const serverNameOf = (ticket: Ticket): string => ticket + suffix

/** The ticket in what a ClientHello asks for; `''` where it has the place of one and is none; undefined for other names. */
export function ticketInServerName(name: string): Ticket | '' | undefined {
  if (!name.endsWith(suffix)) return undefined
  const ticket = name.slice(0, -suffix.length)
  return form.test(ticket) ? ticket : ''
}

/** What the answering agent says first, in clear, on the connection that it opens to the controller. */
export const answeringLine = (ticket: Ticket): string => `${greeting}${ticket}\n`

export const answeringLineLength = answeringLine(newTicket()).length

/** The ticket of such a line; `''` if it is none. */
export function ticketInLine(line: string): Ticket | '' {
  const ticket = line.startsWith(greeting) ? line.slice(greeting.length).trimEnd() : ''
  return form.test(ticket) ? ticket : ''
}

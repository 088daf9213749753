import type { LineSettings, ModemLines } from '../port.ts'
import { subnegotiationBytes, telnetOptions } from '../telnet.ts'

/** What is said within the telnet option 44, and in which form. The place in the list is the code of the client's. */
const forms = [
  ['signature', 'text'],
  ['baud', 'u32'],
  ['data', 'u8'],
  ['parity', 'u8'],
  ['stop', 'u8'],
  ['control', 'u8'],
  ['line-state', 'u8'],
  ['modem-state', 'u8'],
  ['suspend', 'nothing'],
  ['resume', 'nothing'],
  ['line-mask', 'u8'],
  ['modem-mask', 'u8'],
  ['purge', 'u8'],
] as const

type Form = (typeof forms)[number]
type Named<F extends string> = Extract<Form, readonly [string, F]>[0]

export type ComPortNumber = Named<'u8' | 'u32'>
export type ComPortMessage =
  | { readonly name: 'signature'; readonly text: string }
  | { readonly name: 'suspend' | 'resume' }
  /** `value` is undefined where the payload is too short for one. */
  | { readonly name: ComPortNumber; readonly value: number | undefined }

export type Speaker = 'client' | 'server'

/** The codes of a server's words. */
const answerOffset = 100

/** As it is sent, with all that telnet puts around it. A message of `undefined` has no payload: a poll. */
export function comPortBytes(message: ComPortMessage, from: Speaker): Buffer {
  const code = forms.findIndex(([name]) => name === message.name)
  const payload = Buffer.concat([
    Buffer.of(code + (from === 'server' ? answerOffset : 0)),
    valueBytes(message, forms[code]![1]),
  ])
  return subnegotiationBytes(telnetOptions.comPort, payload)
}

function valueBytes(message: ComPortMessage, form: Form[1]): Buffer {
  if ('text' in message) return Buffer.from(message.text, 'utf8')
  if (!('value' in message) || message.value === undefined) return Buffer.alloc(0)
  if (form === 'u8') return Buffer.of(message.value)
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(message.value)
  return bytes
}

/** Of the payload of a subnegotiation. Undefined: nothing that this speaker says. */
export function readComPort(payload: Buffer, from: Speaker): ComPortMessage | undefined {
  const [first] = payload
  if (first === undefined) return undefined
  const form = forms[first - (from === 'server' ? answerOffset : 0)]
  if (!form) return undefined
  const [name] = form
  const rest = payload.subarray(1)
  if (name === 'signature') return { name, text: rest.toString('utf8') }
  if (name === 'suspend' || name === 'resume') return { name }
  if (name === 'baud') return { name, value: rest.length < 4 ? undefined : rest.readUInt32BE() }
  return { name, value: rest[0] }
}

/** The values of settings, of which 0 asks for the one that is in force. */
export const settingValues = {
  data: { 5: 5, 6: 6, 7: 7, 8: 8 },
  parity: { none: 1, odd: 2, even: 3, mark: 4, space: 5 },
  stop: { 1: 1, 2: 2, 1.5: 3 },
} as const satisfies { [K in 'data' | 'parity' | 'stop']: Record<NonNullable<LineSettings[K]>, number> }

export function settingOf<K extends keyof typeof settingValues>(
  name: K,
  value: number,
): LineSettings[K] | undefined {
  const found = Object.entries(settingValues[name]).find(([, each]) => each === value)?.[0]
  return (name === 'parity' || found === undefined ? found : Number(found)) as LineSettings[K] | undefined
}

/** The values of `control`. */
export const control = {
  askFlow: 0,
  askBreak: 4,
  breakOn: 5,
  breakOff: 6,
  askDtr: 7,
  dtrOn: 8,
  dtrOff: 9,
  askRts: 10,
  rtsOn: 11,
  rtsOff: 12,
  askInboundFlow: 13,
} as const

/** Flow control both ways, or that of what the server sends; and, of values of their own, that of what it receives. */
export const flowValues = {
  outbound: { none: 1, xonxoff: 2, rtscts: 3 },
  inbound: { none: 14, xonxoff: 15, rtscts: 16 },
} as const satisfies Record<string, Record<NonNullable<LineSettings['flow']>, number>>

/** By other wires than we can: DCD, inbound DTR, DSR. */
export const otherFlowValues = { outbound: [17, 19], inbound: [18] } as const

export function flowOf(value: number): NonNullable<LineSettings['flow']> | undefined {
  const found = Object.entries(flowValues.outbound).find(([, each]) => each === value)
  return found?.[0] as LineSettings['flow']
}

export type ControlTopic = 'flow' | 'break' | 'dtr' | 'rts' | 'inbound-flow'

/** What a value of `control` is about: what asks, what sets and what answers it. */
export function topicOf(value: number): ControlTopic | undefined {
  if (value <= 3 || otherFlowValues.outbound.includes(value as 17)) return 'flow'
  if (value <= 6) return 'break'
  if (value <= 9) return 'dtr'
  if (value <= 12) return 'rts'
  return value <= 18 ? 'inbound-flow' : undefined
}

export const lineBits = {
  timeout: 128,
  shiftEmpty: 64,
  holdingEmpty: 32,
  break: 16,
  framing: 8,
  parity: 4,
  overrun: 2,
  dataReady: 1,
} as const

const modemBits = { dcd: 128, ri: 64, dsr: 32, cts: 16 } as const

/** With `before`, also what has changed since; of the ring indicator only that it stopped. */
export function modemState(now: ModemLines, before: ModemLines = now): number {
  let state = 0
  for (const [name, bit] of Object.entries(modemBits) as [keyof ModemLines, number][]) {
    if (now[name]) state |= bit
    const changed = now[name] !== before[name]
    if (changed && !(name === 'ri' && now.ri)) state |= bit >> 4
  }
  return state
}

export function modemLinesOf(state: number): ModemLines {
  const on = (bit: number) => (state & bit) !== 0
  const { dcd, ri, dsr, cts } = modemBits
  return { dcd: on(dcd), ri: on(ri), dsr: on(dsr), cts: on(cts) }
}

export const purgeValues = { rx: 1, tx: 2, both: 3 } as const

export function purgeOf(value: number | undefined): 'rx' | 'tx' | 'both' | undefined {
  const found = Object.entries(purgeValues).find(([, each]) => each === value)
  return found?.[0] as 'rx' | 'tx' | 'both' | undefined
}

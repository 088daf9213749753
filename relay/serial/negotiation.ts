import { optionBytes, type Verb } from './telnet.ts'

/** An option is agreed on for one side at a time: what we do, and what the peer does. */
export type Side = 'us' | 'them'

export interface Negotiation {
  /** Asks for it, unless it is so or has been asked for. */
  wish(side: Side, option: number): void
  heard(verb: Verb, option: number): void
  isOn(side: Side, option: number): boolean
}

export interface NegotiationParts {
  /** What we agree to. */
  readonly allowed: Readonly<Record<Side, readonly number[]>>
  send(bytes: Buffer): void
  /** Agreed on, taken back, or refused by the peer. */
  settled(side: Side, option: number, on: boolean): void
}

const words = { us: { yes: 'will', no: 'wont' }, them: { yes: 'do', no: 'dont' } } as const

/** Nobody changes his mind so often: two who cross each other's words would, for ever. */
const mostChanges = 16

/**
 * Agrees with a telnet peer on options, in the manner of RFC 1143: what is so already is not answered, and what we do not
 * know is refused once. So no two sides answer each other for ever.
 */
export function negotiation({ allowed, send, settled }: NegotiationParts): Negotiation {
  const states = { us: new Map<number, 'wished' | 'on'>(), them: new Map<number, 'wished' | 'on'>() }
  const refused = { us: new Set<number>(), them: new Set<number>() }
  const changes = { us: new Map<number, number>(), them: new Map<number, number>() }

  const mayChange = (side: Side, option: number) => {
    const times = (changes[side].get(option) ?? 0) + 1
    changes[side].set(option, times)
    return times <= mostChanges
  }

  const wantedOn = (side: Side, option: number) => {
    const was = states[side].get(option)
    if (was === 'on') return
    if (!allowed[side].includes(option)) {
      if (!refused[side].has(option)) send(optionBytes(words[side].no, option))
      refused[side].add(option)
      return
    }
    if (!mayChange(side, option)) return
    states[side].set(option, 'on')
    if (was !== 'wished') send(optionBytes(words[side].yes, option))
    settled(side, option, true)
  }
  const wantedOff = (side: Side, option: number) => {
    const was = states[side].get(option)
    if (was === undefined || !mayChange(side, option)) return
    states[side].delete(option)
    if (was === 'on') send(optionBytes(words[side].no, option))
    settled(side, option, false)
  }

  return {
    wish(side, option) {
      if (states[side].has(option)) return
      states[side].set(option, 'wished')
      send(optionBytes(words[side].yes, option))
    },
    heard(verb, option) {
      const side = verb === 'do' || verb === 'dont' ? 'us' : 'them'
      if (verb === 'do' || verb === 'will') wantedOn(side, option)
      else wantedOff(side, option)
    },
    isOn: (side, option) => states[side].get(option) === 'on',
  }
}

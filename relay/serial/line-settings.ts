import { RelayError } from '../errors.ts'
import { nearest } from '../nearest.ts'
import type { Termios } from '../terminal/termios.ts'
import type { LineSettings } from './port.ts'

const CSIZE = 0o60
const CSTOPB = 0o100
const PARENB = 0o400
const PARODD = 0o1000
const CMSPAR = 0o10000000000
const CRTSCTS = 0o20000000000
const IXON = 0o2000
const IXOFF = 0o10000

const parityBits = {
  none: 0,
  even: PARENB,
  odd: PARENB | PARODD,
  mark: PARENB | PARODD | CMSPAR,
  space: PARENB | CMSPAR,
} as const

const flowBits = {
  none: { iflag: 0, cflag: 0 },
  xonxoff: { iflag: IXON | IXOFF, cflag: 0 },
  rtscts: { iflag: 0, cflag: CRTSCTS },
} as const

/** What each setting can be. Any baud is tried that a device could have: each has its own list. */
export const lineChoices = {
  data: [5, 6, 7, 8],
  parity: ['none', 'even', 'odd', 'mark', 'space'],
  stop: [1, 1.5, 2],
  flow: ['none', 'xonxoff', 'rtscts'],
} as const satisfies { readonly [K in Exclude<keyof LineSettings, 'baud'>]: readonly unknown[] }

export const fastestBaud = 100_000_000

/** What the settings of a terminal say about its line. */
export function lineOf({ iflag, cflag, outputSpeed }: Termios): Required<LineSettings> {
  const data = lineChoices.data[(cflag & CSIZE) >> 4]!
  const { parity } = lineChoices
  const bits = cflag & PARENB ? cflag & (PARENB | PARODD | CMSPAR) : 0
  return {
    baud: outputSpeed,
    data,
    parity: parity.find(name => parityBits[name] === bits)!,
    stop: cflag & CSTOPB ? (data === 5 ? 1.5 : 2) : 1,
    flow: cflag & CRTSCTS ? 'rtscts' : iflag & (IXON | IXOFF) ? 'xonxoff' : 'none',
  }
}

/** The same terminal with another line. What is absent stays as it is. */
export function withLine(settings: Termios, { baud, data, parity, stop, flow }: LineSettings): Termios {
  const next = { ...settings, characters: Buffer.from(settings.characters) }
  const put = (field: 'iflag' | 'cflag', mask: number, bits: number) => {
    next[field] = (next[field] & ~mask) | bits
  }
  if (baud !== undefined) {
    next.inputSpeed = baud
    next.outputSpeed = baud
  }
  if (data !== undefined) put('cflag', CSIZE, (data - 5) << 4)
  if (parity !== undefined) put('cflag', PARENB | PARODD | CMSPAR, parityBits[parity])
  if (stop !== undefined) put('cflag', CSTOPB, stop === 1 ? 0 : CSTOPB)
  if (flow !== undefined) {
    put('cflag', CRTSCTS, flowBits[flow].cflag)
    put('iflag', IXON | IXOFF, flowBits[flow].iflag)
  }
  return next
}

/**
 * Throws a RelayError `usage` for what no line can be; the values may come from anywhere. `now` is what holds for those
 * that are absent.
 */
export function checkLine(settings: LineSettings, what: string, now?: LineSettings): void {
  const { baud } = settings
  const refuse = (why: string, fix: string) => new RelayError('usage', { what, why, fix })
  if (baud !== undefined && !(Number.isInteger(baud) && baud > 0 && baud <= fastestBaud)) {
    throw refuse(
      `a line cannot have \`${baud}\` baud`,
      `Write a whole number up to ${fastestBaud}, e.g. 115200`,
    )
  }
  for (const [name, choices] of Object.entries(lineChoices)) {
    const value = settings[name as keyof typeof lineChoices]
    if (value === undefined || (choices as readonly unknown[]).includes(value)) continue
    throw refuse(`${name} cannot be \`${value}\``, oneOf(String(value), choices))
  }
  const { data, stop } = { ...now, ...settings }
  const contradicting = settings.stop !== undefined && settings.stop !== 1 && data !== undefined
  if (contradicting && (stop === 1.5) !== (data === 5)) {
    throw data === 5
      ? refuse('2 stop bits do not go with 5 data bits', 'Write 1 or 1.5 stop bits')
      : refuse('1.5 stop bits go with 5 data bits only', 'Write 1 or 2 stop bits')
  }
}

/** The advice for a value that is none of those. */
export function oneOf(value: string, choices: readonly (string | number)[]): string {
  const near = nearest(
    value,
    choices.map(String).filter(choice => Number.isNaN(Number(choice))),
  )
  return near ? `Did you mean \`${near}\`?` : `Write one of ${choices.join(', ')}`
}

/** Devices come as near to a speed as their clock lets them. */
export function sameLine(a: Required<LineSettings>, b: Required<LineSettings>): boolean {
  return differing(a, b).length === 0
}

/** The settings in which `has` is not as `wanted`. */
export function differing(has: Required<LineSettings>, wanted: LineSettings): (keyof LineSettings)[] {
  return (Object.keys(wanted) as (keyof LineSettings)[]).filter(name => {
    const value = wanted[name]
    if (value === undefined) return false
    return name === 'baud' ? Math.abs(has.baud - Number(value)) > has.baud * 0.03 : has[name] !== value
  })
}

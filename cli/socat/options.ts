import { writeToken } from '#relay/lexer.ts'
import { formatDuration } from '../duration.ts'
import { usage } from '../failure.ts'
import type { FlowOptions } from '../flow-options.ts'
import { levels, type SocatSettings, wordier } from './settings.ts'

/** Options of `fleetcat create`, as it reads them. */
export type FleetOptions = Pick<FlowOptions, 'unidirectional' | 'dump' | 'tee'> & {
  readonly idleTimeout?: string
}

/** What a relay of the fleet makes of an option of socat's. */
export type InFleet =
  | { readonly maps: (settings: SocatSettings) => FleetOptions }
  /** It has no meaning there, and nothing is lost without it. */
  | { readonly noted: string }
  | { readonly refused: string }

/** One row of socat's command line. */
export interface SocatOption {
  /** What stands behind the dash, up to its value. */
  readonly name: string
  /** As `-h` shows it. */
  readonly syntax: string
  readonly summary: string
  /** `attached`: directly behind the name, or absent. `needed`: behind the name, or the next word. */
  readonly value?: 'attached' | 'needed'
  /** Throws a RelayError `usage` when the value is none. */
  readonly set: (settings: SocatSettings, value: string) => void
  readonly inFleet: InFleet
}

const ownLog = 'an agent writes its own log, and `fleetcat connections` and `describe` show what a relay does'
const checksAlways =
  'an option of an address that does not belong to its kind has no effect here, so it is always refused'
const byHand = 'it is for a program that somebody runs by hand'

/** The longest names first, for `-hh` begins as `-h` does. */
export const socatOptions: readonly SocatOption[] = [
  asking('V', '-V', 'print version and feature information to stdout, and exit', 'version'),
  ...['h', '?'].flatMap(letter => [
    asking(letter.repeat(3), '-hhh', 'like -hh, plus a list of all address option names', 'help-all'),
    asking(letter.repeat(2), '-hh', 'like -h, plus a list of the address option names', 'help-options'),
    asking(letter, '-h|-?', 'print the command line options and the kinds of addresses', 'help'),
  ]),
  {
    name: 'd',
    syntax: '-d[ddd]',
    summary: 'say more (up to 4 times; -d0 to -d4 set the level)',
    value: 'attached',
    set(settings, value) {
      const level = /^[0-4]$/.test(value) ? levels[Number(value) + 1] : undefined
      if (level) settings.level = level
      else if (/^d*$/.test(value)) for (const _ of `d${value}`) settings.level = wordier(settings.level)
      else throw unknownOption(`-d${value}`)
    },
    inFleet: { noted: ownLog },
  },
  switchOn('D', 'list the open descriptors before the transfer', { noted: byHand }, settings => {
    settings.descriptors = true
  }),
  {
    name: 'ly',
    syntax: '-ly[facility]',
    summary: 'log to syslog, using facility (default is daemon)',
    value: 'attached',
    set(settings, facility) {
      settings.log = { to: 'syslog', facility: facility || 'daemon' }
    },
    inFleet: { noted: ownLog },
  },
  {
    name: 'lf',
    syntax: '-lf<logfile>',
    summary: 'log to file',
    value: 'needed',
    set(settings, path) {
      settings.log = { to: 'file', path }
    },
    inFleet: { noted: ownLog },
  },
  switchOn('ls', 'log to stderr (default if no other log)', { noted: ownLog }, settings => {
    settings.log = { to: 'stderr' }
  }),
  {
    name: 'lm',
    syntax: '-lm[facility]',
    summary: 'log to stderr until all is open, then to syslog',
    value: 'attached',
    set(settings, facility) {
      settings.log = { to: 'mixed', facility: facility || 'daemon' }
    },
    inFleet: { noted: ownLog },
  },
  {
    name: 'lp',
    syntax: '-lp<progname>',
    summary: 'the program name in messages and environment variables',
    value: 'needed',
    set(settings, name) {
      settings.programName = name
    },
    inFleet: { noted: ownLog },
  },
  switchOn('lu', 'microseconds in the time of messages', { noted: ownLog }, settings => {
    settings.microseconds = true
  }),
  switchOn('lh', 'the name of this host in messages', { noted: ownLog }, settings => {
    settings.hostname = true
  }),
  switchOn('v', 'dump the traffic as text', { maps: dumping }, settings => {
    settings.dumpText = true
  }),
  switchOn('x', 'dump the traffic in hexadecimal', { maps: dumping }, settings => {
    settings.dumpHex = true
  }),
  {
    name: 'r',
    syntax: '-r <file>',
    summary: 'write what flows from left to right to this file too',
    value: 'needed',
    set(settings, path) {
      settings.rawForward = path
    },
    inFleet: { maps: ({ rawForward = '' }) => ({ tee: [`OPEN:${writeToken(rawForward)},creat,append`] }) },
  },
  {
    name: 'R',
    syntax: '-R <file>',
    summary: 'write what flows from right to left to this file too',
    value: 'needed',
    set(settings, path) {
      settings.rawBackward = path
    },
    inFleet: { refused: 'a relay copies only what goes to its target. `--dump` shows both directions' },
  },
  {
    name: 'b',
    syntax: '-b<size_t>',
    summary: 'transfer at most so many bytes at a time; datagrams stay whole',
    value: 'needed',
    set(settings, text) {
      const bytes = /^(\d{1,10}|0x[0-9a-f]{1,8})$/i.test(text) ? Number(text) : Number.NaN
      if (Number.isNaN(bytes)) throw notANumber('-b')
      if (bytes > largestBuffer) throw usage(`-b ${text}`, `the largest buffer has ${largestBuffer} bytes`)
      settings.bufferBytes = Math.max(1, bytes)
    },
    inFleet: { noted: 'the buffers of a relay size themselves' },
  },
  switchOn(
    's',
    'go on without options that cannot be had',
    { refused: 'options that cannot be had are refused' },
    settings => {
      settings.sloppy = true
    },
  ),
  {
    name: 't',
    syntax: '-t<timeout>',
    summary: 'seconds to wait for the other side when one has ended (0.5)',
    value: 'needed',
    set(settings, text) {
      settings.halfCloseMs = seconds('-t', text)
    },
    inFleet: {
      noted: 'when one side has ended, a relay waits for the other for as long as it makes progress',
    },
  },
  {
    name: 'T',
    syntax: '-T<timeout>',
    summary: 'end after so many seconds of silence',
    value: 'needed',
    set(settings, text) {
      settings.idleMs = seconds('-T', text)
    },
    inFleet: { maps: ({ idleMs = 0 }) => (idleMs > 0 ? { idleTimeout: formatDuration(idleMs) } : {}) },
  },
  switchOn('u', 'unidirectional mode (left to right)', { maps: oneWay }, settings => {
    settings.direction = onlyOne(settings.direction, 'forward')
  }),
  switchOn('U', 'unidirectional mode (right to left)', { maps: oneWay }, settings => {
    settings.direction = onlyOne(settings.direction, 'backward')
  }),
  switchOn('g', 'do not check option groups: not to be had here', { refused: checksAlways }, () => {
    throw usage('option "-g"', checksAlways, 'Leave out -g and that option')
  }),
  locking('L', '-L <lockfile>', 'obtain this lock, or fail', false),
  locking('W', '-W <lockfile>', 'obtain this lock, or wait for it', true),
  preferring(4),
  preferring(6),
  switchOn(
    '-experimental',
    'allow experimental features: there are none',
    { noted: 'nothing is experimental' },
    () => {},
  ),
]

const largestBuffer = 2 ** 30

export const unknownOption = (word: string) => usage(`unknown option "${word}"; use option "-h" for help`, '')

function asking(
  name: string,
  syntax: string,
  summary: string,
  asks: NonNullable<SocatSettings['asks']>,
): SocatOption {
  return {
    name,
    syntax,
    summary,
    set(settings) {
      settings.asks ??= asks
    },
    inFleet: { refused: `\`fleetcat socat ${syntax.slice(0, 3)}\` tells` },
  }
}

function switchOn(
  name: string,
  summary: string,
  inFleet: InFleet,
  set: (settings: SocatSettings) => void,
): SocatOption {
  return { name, syntax: `-${name}`, summary, set, inFleet }
}

function locking(name: string, syntax: string, summary: string, wait: boolean): SocatOption {
  return {
    name,
    syntax,
    summary,
    value: 'needed',
    set(settings, path) {
      settings.lock = { path, wait }
    },
    inFleet: {
      refused: `the controller knows each relay by its name, and runs it once. For a lock that other programs heed write \`${wait ? 'waitlock' : 'lockfile'}=\` to an address`,
    },
  }
}

function preferring(version: 4 | 6): SocatOption {
  const inFleet = {
    refused: `write the version to the address: TCP${version} for TCP, or \`pf=ip${version}\``,
  }
  return switchOn(
    String(version),
    `prefer IPv${version} where an address does not say it`,
    inFleet,
    settings => {
      settings.ipVersion = version
    },
  )
}

function dumping({ dumpText, dumpHex }: SocatSettings): FleetOptions {
  return { dump: dumpText && dumpHex ? 'both' : dumpHex ? 'hex' : 'text' }
}

function oneWay({ direction = 'forward' }: SocatSettings): FleetOptions {
  return { unidirectional: direction }
}

function onlyOne(before: SocatSettings['direction'], now: 'forward' | 'backward') {
  if (before !== undefined && before !== now) throw usage('-U and -u must not be combined', '')
  return now
}

/** Socat's `timeval`, in milliseconds. */
function seconds(option: string, text: string): number {
  if (!/^(\d{1,10}(\.\d*)?|\.\d+)$/.test(text)) throw notANumber(option)
  const ms = Number(text) * 1_000
  return ms > 0 ? Math.max(1, Math.round(ms)) : 0
}

const notANumber = (option: string) => usage(`missing numerical value of option "${option}"`, '')

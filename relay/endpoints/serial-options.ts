import { resolve } from 'node:path'
import { duration, flag, integer, refused, size, valued } from '../option-types.ts'
import type { OptionGroup, OptionValues } from '../options.ts'
import { mostReplay } from '../serial/replay-buffer.ts'
import { termiosOptions } from '../terminal/termios-options.ts'
import { lineOptions, lineUseOptions } from './line-options.ts'

/** Who has the port, and what becomes of its bytes. */
const sharingOptions = {
  name: 'sharing',
  options: {
    share: flag('share', { summary: 'several may have it: the first writes, the others watch' }),
    watch: flag('watch', { summary: 'share it, and only read' }),
    takeOver: flag('take-over', { summary: 'share it, and take the writing from whoever has it' }),
    join: flag('join', { summary: 'share it, but only if others have it: it is not opened for this' }),
    for: duration('for', {
      summary: 'whoever comes has it for so long, and is then cut',
      min: 1_000,
      max: 86_400_000,
    }),
    wait: duration('wait', {
      summary: 'while others have it, wait in line for so long; refused at once if absent',
      max: 86_400_000,
    }),
    exclusive: flag('exclusive', { summary: 'nobody else may have it; so unless it is shared' }),
    replug: flag('replug', {
      summary: 'when the device goes, wait for it to come back; always so when it is shared',
    }),
    replay: size('replay', 'of what came before, begin with so many bytes', '8k', mostReplay),
    notices: flag('notices', {
      summary: 'notices of fleetcat among the bytes; on when it is shared, unless `notices=0`',
    }),
    log: valued<string>(
      'log',
      { summary: 'write what comes into this file too, each line with its time, also while nobody is there' },
      '<file>',
      '/var/log/console.log',
      text => ({ value: resolve(text) }),
    ),
    logSize: size('log-size', 'begin a new log at this size; 16 MiB if absent', '16m', 2 ** 40),
    logKeep: integer('log-keep', { summary: 'older logs that are kept; 5 if absent', min: 0, max: 1_000 }),
    alert: valued<RegExp>(
      'alert',
      {
        summary:
          'raise an alert with each line that this regular expression is in, also while nobody is there; several may have the port',
      },
      '<pattern>',
      'panic|Oops',
      text => {
        try {
          return { value: new RegExp(text, 'u') }
        } catch (thrown) {
          return { problem: (thrown as Error).message, write: 'e.g. `alert=panic|Oops`' }
        }
      },
    ),
    charDelay: duration('char-delay', { summary: 'a pause after each byte', max: 60_000 }),
    lineDelay: duration('line-delay', { summary: 'a pause after each line', max: 600_000 }),
    send: valued<string>(
      'send',
      { summary: 'write this whenever the port has been opened' },
      '<text>',
      '\\r',
      value => ({
        value,
      }),
    ),
  },
} as const satisfies OptionGroup

const fixed = 'bytes are passed on as they come, so it changes nothing. Leave it out'
const {
  'termios:stop': stopCharacter,
  'termios:min': _min,
  'termios:time': _time,
  ...others
} = termiosOptions.options

/** Those of terminals, but for names that mean something else of a line, or nothing. */
const portTermiosOptions = {
  name: 'termios',
  options: {
    ...others,
    'termios:stop': { ...stopCharacter!, name: 'vstop', aliases: [] },
    min: refused('min', { aliases: ['vmin'], summary: 'bytes that a read waits for', because: fixed }),
    time: refused('time', { aliases: ['vtime'], summary: 'how long a read waits', because: fixed }),
  } as typeof others,
} as const satisfies OptionGroup

export const serialGroups = [lineOptions, sharingOptions, lineUseOptions, portTermiosOptions] as const
export type SerialOptions = OptionValues<typeof serialGroups>

/** Plain names of a line, and the termios options that say the same: both at once would leave one of them ignored. */
export const sameThing: readonly [plain: string, termios: RegExp][] = [
  ['baud', /^(b\d+|ispeed|ospeed)$/],
  ['data', /^(cs[5-8]|csize)$/],
  ['parity', /^(parenb|parodd)$/],
  ['stop', /^cstopb$/],
  ['flow', /^(crtscts|ixon|ixoff|tandem)$/],
]

const { log, logSize, logKeep, charDelay, lineDelay, send } = sharingOptions.options

const namesOf = (options: readonly { readonly name: string; readonly aliases: readonly string[] }[]) =>
  options.flatMap(({ name, aliases }) => [name, ...aliases])

/** How the line and its wires are to be, which is for all who have the port. */
export const lineNames: ReadonlySet<string> = new Set(
  namesOf([...Object.values(lineOptions.options), ...Object.values(portTermiosOptions.options)]),
)

/** What is said of the device, and not of one of those who share it: see `attachShared`. */
export const deviceNames: ReadonlySet<string> = new Set([
  ...lineNames,
  ...namesOf([log, logSize, logKeep, charDelay, lineDelay, send]),
])

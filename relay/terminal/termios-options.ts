import { flag, type Help, integer, valued } from '../option-types.ts'
import type { OptionGroup, OptionSpec } from '../options.ts'
import { fastSpeeds, slowSpeeds, type Termios } from './termios.ts'
import { modes } from './termios-modes.ts'

/** What an option does to the settings of a terminal. */
export type TermiosChange = (settings: Termios) => void

type Field = 'iflag' | 'oflag' | 'cflag' | 'lflag'

/** Flags that are on or off: their bit, what they do, and other names for them. */
const flags: Record<Field, Record<string, readonly [bit: number, summary: string, ...aliases: string[]]>> = {
  iflag: {
    ignbrk: [0o1, 'ignore a break'],
    brkint: [0o2, 'interrupt on a break'],
    ignpar: [0o4, 'ignore bytes with a wrong parity'],
    parmrk: [0o10, 'mark bytes with a wrong parity'],
    inpck: [0o20, 'check the parity of input'],
    istrip: [0o40, 'clear the eighth bit of input'],
    inlcr: [0o100, 'turn NL into CR on input'],
    igncr: [0o200, 'drop CR on input'],
    icrnl: [0o400, 'turn CR into NL on input'],
    iuclc: [0o1000, 'turn upper into lower case on input'],
    ixon: [0o2000, 'XON and XOFF from the far side stop our output'],
    ixany: [0o4000, 'any character starts stopped output'],
    ixoff: [0o10000, 'send XON and XOFF to stop input', 'tandem'],
    imaxbel: [0o20000, 'ring the bell when the input line is full'],
  },
  oflag: {
    opost: [0o1, 'process output'],
    olcuc: [0o2, 'turn lower into upper case on output'],
    onlcr: [0o4, 'turn NL into CR and NL on output'],
    ocrnl: [0o10, 'turn CR into NL on output'],
    onocr: [0o20, 'send no CR in the first column'],
    onlret: [0o40, 'NL goes to the first column'],
    ofill: [0o100, 'fill characters in place of delays'],
    ofdel: [0o200, 'fill with DEL rather than NUL'],
    nldly: [0o400, 'a delay after NL'],
    bsdly: [0o20000, 'a delay after a backspace'],
    vtdly: [0o40000, 'a delay after a vertical tab'],
    ffdly: [0o100000, 'a delay after a form feed'],
  },
  cflag: {
    cstopb: [0o100, 'two stop bits'],
    cread: [0o200, 'receive at all'],
    parenb: [0o400, 'parity'],
    parodd: [0o1000, 'odd parity'],
    hupcl: [0o2000, 'hang up on the last close', 'hup'],
    clocal: [0o4000, 'ignore the modem lines'],
    crtscts: [0o20000000000, 'RTS and CTS stop and start the flow'],
  },
  lflag: {
    isig: [0o1, 'signals for the interrupt, quit and suspend characters'],
    icanon: [0o2, 'edit input by lines'],
    xcase: [0o4, 'upper case by a backslash'],
    echo: [0o10, 'echo input'],
    echoe: [0o20, 'echo an erasure as such', 'crterase'],
    echok: [0o40, 'echo NL after the kill character'],
    echonl: [0o100, 'echo NL even without echo'],
    noflsh: [0o200, 'keep what is queued on a signal'],
    tostop: [0o400, 'stop what writes in the background'],
    echoctl: [0o1000, 'echo control characters as ^A', 'ctlecho'],
    echoprt: [0o2000, 'echo erased characters', 'prterase'],
    echoke: [0o4000, 'echo a killed line as erased', 'crtkill'],
    flusho: [0o10000, 'output is thrown away'],
    pendin: [0o40000, 'print pending input again'],
    iexten: [0o100000, 'the characters that are not of POSIX'],
  },
}

/** Fields of several bits: those bits, and the value that each name gives them. */
const choices: readonly [
  field: Field,
  mask: number,
  shift: number,
  names: readonly string[],
  what: string,
][] = [
  ['oflag', 0o400, 8, ['nl0', 'nl1'], 'delay after NL'],
  ['oflag', 0o3000, 9, ['cr0', 'cr1', 'cr2', 'cr3'], 'delay after CR'],
  ['oflag', 0o14000, 11, ['tab0', 'tab1', 'tab2', 'tab3'], 'delay after a tab; the last expands them'],
  ['oflag', 0o14000, 11, ['', '', '', 'xtabs'], 'tabs become spaces'],
  ['oflag', 0o20000, 13, ['bs0', 'bs1'], 'delay after a backspace'],
  ['oflag', 0o40000, 14, ['vt0', 'vt1'], 'delay after a vertical tab'],
  ['oflag', 0o100000, 15, ['ff0', 'ff1'], 'delay after a form feed'],
  ['cflag', 0o60, 4, ['cs5', 'cs6', 'cs7', 'cs8'], 'bits of a character'],
]

/** The same fields by number. */
const numbered: readonly [name: string, field: Field, mask: number, shift: number, summary: string][] = [
  ['crdly', 'oflag', 0o3000, 9, 'the delay after CR'],
  ['tabdly', 'oflag', 0o14000, 11, 'the delay after a tab; 3 expands it'],
  ['csize', 'cflag', 0o60, 4, 'the size of a character: 0 for 5 bits, up to 3 for 8'],
]

/** Characters with a meaning, by their place; the longer name is an alias. */
const characters: readonly [name: string, at: number, summary: string, ...aliases: string[]][] = [
  ['intr', 0, 'the character that interrupts'],
  ['quit', 1, 'the character that quits'],
  ['erase', 2, 'the character that erases a character'],
  ['kill', 3, 'the character that erases the line'],
  ['eof', 4, 'the character that ends a file'],
  ['time', 5, 'without icanon: tenths of a second that a read waits'],
  ['min', 6, 'without icanon: bytes that a read waits for'],
  ['swtc', 7, 'the character that switches shells', 'swtch'],
  ['start', 8, 'the character that starts output'],
  ['stop', 9, 'the character that stops output'],
  ['susp', 10, 'the character that suspends'],
  ['eol', 11, 'a character that ends a line'],
  ['reprint', 12, 'the character that prints the line again', 'rprnt'],
  ['discard', 13, 'the character that throws output away'],
  ['werase', 14, 'the character that erases a word'],
  ['lnext', 15, 'the character that quotes the next'],
  ['eol2', 16, 'another character that ends a line'],
]

type TermiosSpecs = { readonly [key: `termios:${string}`]: OptionSpec<TermiosChange> }

/** What a terminal may be told, as socat has it. The options do their work in the order in which they are written. */
export const termiosOptions = {
  name: 'termios',
  options: Object.fromEntries(
    [
      ...Object.entries(modes).map(([name, { summary, aliases, change }]) => {
        return constant(name, { summary, aliases }, change)
      }),
      ...Object.entries(flags).flatMap(([field, named]) =>
        Object.entries(named).map(([name, [bit, summary, ...aliases]]) =>
          mapped(flag(name, { summary, aliases }), on => masked(field as Field, bit, on ? bit : 0)),
        ),
      ),
      ...choices.flatMap(([field, mask, shift, names, summary]) =>
        names.flatMap((name, value) =>
          name === '' ? [] : constant(name, { summary }, masked(field, mask, value << shift)),
        ),
      ),
      ...numbered.map(([name, field, mask, shift, summary]) =>
        mapped(integer(name, { summary, min: 0, max: 3 }), value => masked(field, mask, value << shift)),
      ),
      ...characters.map(([name, at, summary, ...aliases]) =>
        mapped(character(name, { summary, aliases: [`v${name}`, ...aliases] }), byte => settings => {
          settings.characters[at] = byte
        }),
      ),
      ...[...slowSpeeds, ...fastSpeeds].map(speed => {
        const summary = speed === 0 ? 'hang up' : `${speed} bits a second`
        return constant(`b${speed}`, { summary }, settings => {
          settings.inputSpeed = speed
          settings.outputSpeed = speed
        })
      }),
      speed('ispeed', 'the speed of input', (settings, value) => {
        settings.inputSpeed = value
      }),
      speed('ospeed', 'the speed of output', (settings, value) => {
        settings.outputSpeed = value
      }),
    ].map(spec => [`termios:${spec.name}`, spec]),
  ) as TermiosSpecs,
} as const satisfies OptionGroup

function masked(field: Field, mask: number, bits: number): TermiosChange {
  return settings => {
    settings[field] = (settings[field] & ~mask) | bits
  }
}

/** An option that can only be written: what it sets has no opposite. */
function constant(name: string, help: Help, change: TermiosChange): OptionSpec<TermiosChange> {
  return {
    name,
    aliases: help.aliases ?? [],
    syntax: '',
    summary: help.summary,
    read: text =>
      text === undefined || text === '1'
        ? { value: change }
        : { problem: 'it takes no value', write: `\`${name}\`, or leave it out` },
  }
}

function speed(
  name: string,
  summary: string,
  change: (settings: Termios, value: number) => void,
): OptionSpec<TermiosChange> {
  const number = integer(name, { summary: `${summary}, in bits a second`, min: 1, max: 100_000_000 })
  return mapped(number, value => settings => change(settings, value))
}

/** A byte by its number, as in socat: `4`, `0x04`. */
function character(name: string, help: Help): OptionSpec<number> {
  return valued<number>(name, help, '<byte>', '4', text => {
    const value = /^(\d{1,3}|0x[0-9a-f]{1,2})$/i.test(text) ? Number(text) : Number.NaN
    return value <= 255
      ? { value }
      : { problem: 'it is no byte', write: `a number up to 255, e.g. \`${name}=4\`` }
  })
}

function mapped<T>(spec: OptionSpec<T>, make: (value: T) => TermiosChange): OptionSpec<TermiosChange> {
  return {
    ...spec,
    read(text) {
      const reading = spec.read(text)
      return 'problem' in reading ? reading : { value: make(reading.value) }
    },
  }
}

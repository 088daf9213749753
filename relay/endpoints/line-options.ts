import { duration, flag, integer, valued } from '../option-types.ts'
import type { OptionGroup, OptionSpec, OptionValues } from '../options.ts'
import { fastestBaud, lineChoices, oneOf } from '../serial/line-settings.ts'
import type { LineSettings } from '../serial/port.ts'

/** How a serial line is set, in plain words; what is left out stays as the device has it. */
export const lineOptions = {
  name: 'line',
  options: {
    baud: integer('baud', {
      summary: 'bits a second, any number',
      min: 1,
      max: fastestBaud,
      example: 115_200,
    }),
    data: choice('data', 'data bits', lineChoices.data),
    parity: choice('parity', 'the parity bit', lineChoices.parity),
    stop: choice('stop', 'stop bits; 1.5 go with 5 data bits', lineChoices.stop),
    flow: choice('flow', 'what stops and starts the flow', lineChoices.flow),
    dtr: flag('dtr', { summary: 'raise DTR, or with `dtr=0` lower it, once the port is open' }),
    rts: flag('rts', { summary: 'raise RTS, or with `rts=0` lower it, once the port is open' }),
  },
} as const satisfies OptionGroup

/** What becomes of the line, and where its bytes end. */
export const lineUseOptions = {
  name: 'line-use',
  options: {
    rfc2217: flag('rfc2217', {
      summary: 'the client gets the line too, how it is set and its wires, by RFC 2217',
    }),
    endAfter: duration('end-after', {
      summary: 'when the other side has ended: so much silence is the end of the line; 1 s if absent',
      max: 86_400_000,
    }),
  },
} as const satisfies OptionGroup

function choice<const T extends string | number>(
  name: string,
  summary: string,
  choices: readonly T[],
): OptionSpec<T> {
  return valued<T>(name, { summary }, `<${choices.join('|')}>`, String(choices.at(-1)), text => {
    const value = choices.find(each => String(each) === text.toLowerCase())
    if (value !== undefined) return { value }
    const write = oneOf(text, choices).replace(/^Write /, '')
    return { problem: 'it is none that a line can have', write }
  })
}

/** What these options say of the line, and of the control lines if anything. */
export function lineWishes({
  baud,
  data,
  parity,
  stop,
  flow,
  dtr,
  rts,
}: OptionValues<readonly [typeof lineOptions]>): {
  readonly settings: LineSettings
  readonly control?: { readonly dtr?: boolean; readonly rts?: boolean }
} {
  const settings = {
    ...(baud !== undefined && { baud }),
    ...(data !== undefined && { data }),
    ...(parity !== undefined && { parity }),
    ...(stop !== undefined && { stop }),
    ...(flow !== undefined && { flow }),
  }
  const control = { ...(dtr !== undefined && { dtr }), ...(rts !== undefined && { rts }) }
  return { settings, ...(Object.keys(control).length > 0 && { control }) }
}

import { type Address, formatAddress, parseAddress } from '#relay/address.ts'
import { bindTarget, kindOf } from '#relay/endpoints/index.ts'
import { usage } from '../failure.ts'

/** A serial port somewhere in the fleet. */
export interface Place {
  readonly agent: string
  /** Its path there. */
  readonly path: string
  /** As people write it: `@lab-1//dev/ttyUSB0`. */
  readonly text: string
  /** As an address that tunnels take, with options added to those that were written. */
  address(...options: readonly string[]): string
  /** The address of what the port has said. Throws a RelayError `usage` where the wish cannot be. */
  log(wish: LogWish): string
  /** Throws a RelayError `usage` where options do not go with it. */
  check(...options: readonly string[]): void
}

/** How much of what a port has said: see `serial log`. */
export interface LogWish {
  readonly since?: string | undefined
  readonly last?: string | undefined
  readonly follow?: boolean
}

const example = '@lab-1//dev/ttyUSB0'

/** Reads `@lab-1//dev/ttyUSB0` or `@lab-1/SERIAL:/dev/ttyUSB0,baud=115200`. Throws a RelayError `usage`. */
export function readPlace(text: string): Place {
  const [, agent] = /^@([a-z0-9._-]*)\/*$/i.exec(text) ?? []
  if (agent !== undefined) {
    const fix = `Write e.g. \`@${agent || 'AGENT'}//dev/ttyUSB0\`; \`fleetcat serial list -o name\` prints them all`
    throw usage(`port \`${text}\``, 'it names no port', fix)
  }
  const written = parseAddress(text)
  const { host } = written
  if (host === undefined) {
    const fix = `Write \`@AGENT/PORT\`, e.g. \`${example}\`; \`fleetcat serial list -o name\` prints them all`
    throw usage(`port \`${text}\``, 'it names no agent', fix)
  }
  const serial = asSerial(written, text)
  const path = serial.args[0] ?? ''
  const address = (...options: readonly string[]) => [formatAddress(serial), ...options].join(',')
  const check = (...options: readonly string[]) => void bindTarget(address(...options))
  // What is wrong with it is known before anybody is asked.
  check()
  const mine = serial.options.find(({ name }) => ours.has(name))
  if (mine) {
    const fix = 'Leave it out; the options of the command say who writes'
    throw usage(`port \`${text}\``, `\`${mine.name}\` is not for an address here`, fix)
  }
  const said = formatAddress({ ...serial, keyword: 'SERIAL-LOG', options: [] })
  const log = ({ since, last, follow }: LogWish) => {
    const options = [
      // The colons of a time are none of the address.
      ...(since === undefined ? [] : [`since=${since.replaceAll(':', '\\:')}`]),
      ...(last === undefined ? [] : [`last=${last}`]),
      ...(follow ? ['follow'] : []),
    ]
    const text = [said, ...options].join(',')
    bindTarget(text)
    return text
  }
  return { agent: host, path, text: `@${host}/${path}`, address, log, check }
}

/** These the command decides. */
const ours: ReadonlySet<string> = new Set([
  ...[
    'share',
    'watch',
    'take-over',
    'join',
    'exclusive',
    'replay',
    'notices',
    'rfc2217',
    'log',
    'replug',
    'for',
    'wait',
  ],
])

/** A bare path is a port here, whatever it is elsewhere. */
function asSerial(written: Address, text: string): Address {
  if (written.keyword === 'GOPEN') return { ...written, keyword: 'SERIAL' }
  const kind = kindOf(written.keyword)?.keyword
  if (kind === 'SERIAL') return { ...written, keyword: 'SERIAL' }
  const why = kind ? `${kind} is no serial port` : `there is no kind of address called \`${written.keyword}\``
  throw usage(`port \`${text}\``, why, `Write \`@AGENT/PORT\`, e.g. \`${example}\``)
}

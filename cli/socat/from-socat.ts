import { type Address, parseTarget } from '#relay/address.ts'
import { bindTarget, kindOf } from '#relay/endpoints/index.ts'
import { usage } from '../failure.ts'
import { readCommandLine } from './command-line.ts'
import type { FleetOptions } from './options.ts'
import { shellWords } from './shell-words.ts'

/** A relay of the fleet, made of a command line of socat. */
export interface FromSocat {
  readonly listen: string
  readonly target: string
  readonly options: FleetOptions
  /** What of the line has no meaning for a relay of the fleet, and why nothing is lost. */
  readonly notes: readonly string[]
}

/** Throws a RelayError that says what cannot be had as a relay of the fleet, and what to write instead. */
export function fromSocat(line: string): FromSocat {
  const words = shellWords(line)
  const before = words.findIndex(word => /^(.*\/)?socat1?$/.test(word))
  if (before < 0 || words.slice(0, before).some(word => !starters.has(word))) {
    throw usage(
      '--from-socat',
      'the line does not begin with `socat`',
      "Write --from-socat 'socat … ADDRESS ADDRESS'",
    )
  }
  const { settings, given, addresses } = readCommandLine(words.slice(before + 1))
  let options: FleetOptions = {}
  const notes: string[] = []
  for (const { syntax, inFleet } of given) {
    if ('refused' in inFleet) throw usage(`--from-socat: option \`${syntax}\``, inFleet.refused)
    if ('noted' in inFleet) notes.push(`socat's ${syntax} is left out: ${inFleet.noted}.`)
    else options = { ...options, ...inFleet.maps(settings) }
  }
  const [listen, target] = addresses
  if (listen === undefined || target === undefined || addresses.length > 2) {
    throw usage('--from-socat', `socat takes two addresses, and the line has ${addresses.length}`)
  }
  checkEnds(listen, target)
  if (options.dump !== undefined) {
    notes.push('The dump is for those who watch; --dump-file PATH writes it to a file on the agent’s host.')
  }
  return { listen, target, options, notes }
}

/** What people put in front of a command that shall run on. */
const starters = new Set(['sudo', 'exec', 'nohup'])

function checkEnds(listen: string, target: string): void {
  const ends = [listen, target].map(text => parseTarget(text))
  for (const half of ends.flatMap(({ read, write }) => [read, write])) checkFleet(half)
  const waits = ends.map(({ read, write }) => [read, write].some(isListener))
  if (waits[0] || !waits[1]) return
  bindTarget(listen)
  throw usage(
    `--from-socat: address \`${target}\``,
    'it waits for connections, and a relay of the fleet waits at its first address',
    'Exchange the two addresses',
  )
}

const isListener = ({ keyword }: Address) => kindOf(keyword)?.role === 'listen'

function checkFleet({ keyword, text }: Address): void {
  const kind = kindOf(keyword)
  if (kind?.byHand === undefined) return
  throw usage(
    `--from-socat: address \`${text}\``,
    `${kind.keyword} cannot be an end of a relay of the fleet: ${kind.byHand}`,
    'Write an address that an agent can open, such as TCP4-LISTEN or OPEN, or run the line here with `fleetcat socat`',
  )
}

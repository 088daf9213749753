import type { Command } from 'commander'
import { define, withContext } from '../command.ts'
import { usage } from '../failure.ts'
import { patternOf } from '../option-values.ts'
import { type OutputOptions, print, printList, withOutput } from '../output/print.ts'
import { bytesOf } from '../serial/bytes.ts'
import { type Reservation, readTtl, readWait, reservationOptions } from '../serial/reservation.ts'
import { readSince } from '../serial/since.ts'

interface ListOptions extends OutputOptions {
  readonly context?: string
  readonly selector?: string
  readonly agent?: string
}

export function command(): Command {
  return define('serial', 'Serial ports of every host of the fleet.', [
    'fleetcat serial list -l lab=berlin',
    'fleetcat serial pty @lab-1//dev/ttyUSB0 --link ~/ttyLAB1',
    'fleetcat serial run @lab-1//dev/ttyUSB0 -- picocom -b 115200 {}',
    "fleetcat serial log @lab-1//dev/ttyUSB0 -f --grep 'panic|Oops'",
  ])
    .addCommand(listCommand())
    .addCommand(ptyCommand())
    .addCommand(runCommand())
    .addCommand(logCommand())
}

function listCommand(): Command {
  return withContext(
    withOutput(
      define('list', 'The serial ports there are, with their names and who uses them.', [
        'fleetcat serial list',
        'fleetcat serial list -l lab=berlin -o wide',
        'fleetcat serial list --agent lab-1 -o name',
      ])
        .option('-l, --selector <selector>', 'only of agents whose labels match, e.g. lab=berlin')
        .option('--agent <agent>', 'only of this agent'),
    ),
  ).action(list)
}

async function list(options: ListOptions): Promise<void> {
  const [{ withFleet }, { fleetPorts }, { serialPortItems, serialPorts }, { checkNames }] = await Promise.all(
    [
      import('../client.ts'),
      import('../serial/fleet-ports.ts'),
      import('../views/serial-port.ts'),
      import('../filter.ts'),
    ],
  )
  const { selector = '', agent = '' } = options
  await withFleet(options, async (operator, fleet) => {
    const hosts = await fleetPorts(fleet, { selector, agent })
    if (hosts.length === 0) await checkNames(operator, { agent })
    const items = hosts.flatMap(serialPortItems)
    const shown = options.output === 'name' ? items.filter(({ path }) => path !== null) : items
    await printList(shown, serialPorts, options, { filtered: selector !== '' || agent !== '' })
    const silent = hosts.filter(host => 'error' in host)
    if (silent.length === 0) return
    const [{ note }, { exitCodes }] = await Promise.all([import('../failure.ts'), import('../exit-codes.ts')])
    note(
      `${silent.length} of ${hosts.length} agents did not answer: ${silent.map(host => host.agent).join(', ')}`,
    )
    process.exitCode = exitCodes.partial
  })
}

interface PortOptions {
  readonly context?: string
  readonly takeOver?: true
  readonly exclusive?: true
  readonly ttl?: number
  readonly wait?: number
  readonly quiet?: true
}

/** Who gets the writing, for programs that do not know that there is such a question. */
const withWish = (command: Command): Command =>
  command
    .option('--take-over', 'take the writing from whoever has it')
    .option('--exclusive', 'have it alone: nobody may watch')
    .option('--ttl <duration>', 'have it for so long, and no longer, e.g. 30m', readTtl)
    .option('--wait <duration>', 'while others have it, wait in line for so long', readWait)
    .option('-q, --quiet', 'say nothing of how the line is set')

function reservationOf({ takeOver, exclusive, ttl, wait }: PortOptions): Reservation {
  if (takeOver && exclusive)
    throw usage('--take-over and --exclusive', 'they contradict each other', 'Keep one of them')
  const wish = takeOver ? 'take-over' : exclusive ? 'exclusive' : 'share'
  return { wish, ttlMs: ttl, waitMs: wait }
}

function ptyCommand(): Command {
  return withContext(
    withWish(
      define(
        'pty',
        'A port of another host as a port of this one, until you press Ctrl-C. When a program sets the baud rate, the ' +
          'stop bits or the flow control of its port, the real one is set too. A pseudo-terminal has no more than that: ' +
          'for parity, data bits, DTR and RTS give programs the URL of `serial run`.',
        ['fleetcat serial pty @lab-1//dev/ttyUSB0 --link ~/ttyLAB1', 'picocom -b 115200 ~/ttyLAB1'],
      )
        .argument('<port>', '@AGENT//dev/PORT, or @AGENT/SERIAL:…')
        .option('--link <file>', 'a symbolic link to it, which is gone when it is'),
    ),
  ).action(pty)
}

async function pty(port: string, options: PortOptions & { readonly link?: string }): Promise<void> {
  const [{ withFleet }, { openRemotePty }, { readPlace }, { stopRequests }, { resolve }] = await Promise.all([
    import('../client.ts'),
    import('../serial/pty.ts'),
    import('../serial/place.ts'),
    import('../signals.ts'),
    import('node:path'),
  ])
  const place = readPlace(port)
  const reservation = reservationOf(options)
  place.check(...reservationOptions(reservation))
  const link = options.link === undefined ? undefined : resolve(options.link)
  await withFleet(options, async (_, fleet) => {
    using stop = stopRequests()
    await using remote = await openRemotePty(fleet, place, {
      ...{ ...reservation, purpose: 'pty', link },
      quiet: options.quiet ?? false,
    })
    print(`${remote.path}\n`)
    process.exitCode = await Promise.race([stop.asked, remote.over])
  })
}

function runCommand(): Command {
  return withContext(
    withWish(
      define(
        'run',
        'Runs a program of this host with a port of another, and ends as the program does. In its words {} becomes a ' +
          'device, and {rfc2217} a URL, by which it has parity, data bits, DTR and RTS too.',
        [
          'fleetcat serial run @lab-1//dev/ttyUSB0 -- picocom -b 115200 {}',
          'fleetcat serial run @lab-1//dev/ttyUSB0 -- esptool --port {rfc2217} chip_id',
        ],
      )
        .argument('<port>', '@AGENT//dev/PORT, or @AGENT/SERIAL:…')
        .argument('<command...>', 'the program and its words, behind --'),
    ),
  ).action(run)
}

async function run(port: string, words: string[], options: PortOptions): Promise<void> {
  const [{ withFleet }, { checkCommand, runWithPort }, { readPlace }, { interrupted }] = await Promise.all([
    import('../client.ts'),
    import('../serial/run.ts'),
    import('../serial/place.ts'),
    import('../signals.ts'),
  ])
  const place = readPlace(port)
  const reservation = reservationOf(options)
  place.check(...reservationOptions(reservation))
  checkCommand(words, reservation)
  await withFleet(options, async (_, fleet) => {
    // Ctrl-C is for the program.
    process.off('SIGINT', interrupted)
    process.exitCode = await runWithPort(fleet, place, words, {
      ...reservation,
      quiet: options.quiet ?? false,
    })
  })
}

interface LogOptions {
  readonly context?: string
  readonly follow?: boolean
  readonly grep?: RegExp
  readonly since?: string
  readonly last?: string
}

function logCommand(): Command {
  return withContext(
    define(
      'log',
      'What a port has said. Where a relay keeps its log, with `log=`, that is all in its files, each line with its time; ' +
        'else it is as much as its host remembers, for as long as anybody has the port.',
      [
        'fleetcat serial log @lab-1//dev/ttyUSB0',
        "fleetcat serial log @lab-1//dev/ttyUSB0 --since 2h --grep 'panic|Oops'",
        'fleetcat serial log @lab-1//dev/ttyUSB0 -f',
      ],
    )
      .argument('<port>', '@AGENT//dev/PORT, or @AGENT/SERIAL:…')
      .option('-f, --follow', 'go on with what it says from now on')
      .option('--grep <pattern>', 'only lines that match this regular expression', patternOf('--grep'))
      .option('--since <when>', 'only lines since then: 2h, 10:00, or 2026-11-29T10:00', text =>
        readSince(text),
      )
      .option(
        '--last <bytes>',
        'only so much of what came before; 64k, unless something is searched for',
        bytesOf('--last', '64k', 2 ** 40),
      ),
  ).action(log)
}

async function log(port: string, options: LogOptions): Promise<void> {
  const [{ withFleet }, { showLog }, { readPlace }, { stopRequests }] = await Promise.all([
    import('../client.ts'),
    import('../serial/log.ts'),
    import('../serial/place.ts'),
    import('../signals.ts'),
  ])
  const place = readPlace(port)
  const { follow = false, grep, since, last, ...others } = options
  // What is wrong is known before anybody is asked.
  place.log({ since, last })
  await withFleet(others, async (_, fleet) => {
    using stop = stopRequests()
    process.exitCode = await showLog(fleet, place, { ...{ follow, grep, since, last }, stopped: stop.asked })
  })
}

import type { Command } from 'commander'
import { mostReplay } from '#relay/serial/replay-buffer.ts'
import { define, withContext } from '../command.ts'
import { parseDuration } from '../duration.ts'
import { usage } from '../failure.ts'
import { choice, patternOf } from '../option-values.ts'
import { bytesOf } from '../serial/bytes.ts'
import { baudOf } from '../serial/line-options.ts'
import { type LineEnd, lineEnds, type ShownEnd, shownEnds } from '../serial/newlines.ts'
import { alertOption, readTtl, readWait, reservationOptions, type Wish } from '../serial/reservation.ts'

interface Options {
  readonly context?: string
  readonly baud?: number
  readonly takeOver?: true
  readonly watch?: true
  readonly exclusive?: true
  readonly log?: string
  readonly hex?: true
  readonly echo?: true
  readonly replay?: string
  readonly alert?: RegExp
  readonly ttl?: number
  readonly wait?: number
  readonly escape: number | 'none'
  readonly enter: LineEnd
  readonly newline: ShownEnd
  readonly endAfter: number
}

export function command(): Command {
  const console = define(
    'console',
    'A serial port of another host in this terminal. The first who comes writes, all others watch. `~?` at the ' +
      'beginning of a line shows what else there is, `~.` ends it.',
    [
      'fleetcat console @lab-1//dev/ttyUSB0 --baud 115200',
      'fleetcat console @lab-1//dev/ttyUSB0 --watch --log boot.log',
      "printf 'version\\r' | fleetcat console @lab-1/SERIAL:/dev/ttyUSB0,baud=9600",
    ],
  )
    .argument('<port>', '@AGENT//dev/PORT, or @AGENT/SERIAL:…')
    .option('--baud <baud>', 'bits a second; as the port is set if absent', baudOf)
    .option('--watch', 'only watch, also when nobody writes')
    .option('--take-over', 'take the writing from whoever has it')
    .option('--exclusive', 'have it alone: nobody may watch')
    .option('--ttl <duration>', 'have it for so long, and no longer, e.g. 30m', readTtl)
    .option('--wait <duration>', 'while others have it, wait in line for so long', readWait)
    .option(
      '--replay <bytes>',
      'begin with so much of what came before, e.g. 8k',
      bytesOf('--replay', '8k', mostReplay),
    )
    .option('--log <file>', 'write what comes into this file too')
    .option(
      '--alert <pattern>',
      'raise an alert with each line that this is in, e.g. panic',
      patternOf('--alert'),
    )
    .option('--hex', 'show bytes, not text')
    .option('--echo', 'show what you type')
  return withContext(
    console
      .addOption(choice(console, '--enter <end>', 'what Enter sends', Object.keys(lineEnds)).default('cr'))
      .addOption(
        choice(console, '--newline <end>', 'what ends a line of the device', shownEnds).default('as-is'),
      )
      .addOption(
        console
          .createOption('--escape <character>', 'begins a command; `none`: there are no commands')
          .argParser(escapeOf)
          .default(0x7e, '~'),
      )
      .addOption(
        console
          .createOption(
            '--end-after <duration>',
            'when standard input is no terminal and has ended: so much silence is the end',
          )
          .argParser(text => parseDuration(text, '--end-after'))
          .default(1_000, '1s'),
      ),
  ).action(open)
}

async function open(port: string, options: Options): Promise<void> {
  const [{ withFleet }, { runConsole }, { readPlace }, { stopRequests }] = await Promise.all([
    import('../client.ts'),
    import('../serial/console.ts'),
    import('../serial/place.ts'),
    import('../signals.ts'),
  ])
  const place = readPlace(port)
  const wish = wishOf(options)
  const { alert, ttl: ttlMs, wait: waitMs } = options
  const reservation = { wish, ttlMs, waitMs }
  place.check(...reservationOptions(reservation), ...(alert ? [alertOption(alert)] : []))
  await withFleet(options, async (_, fleet) => {
    using stop = stopRequests()
    const { hex = false, echo = false, endAfter: endAfterMs, ...others } = options
    process.exitCode = await runConsole(fleet, place, {
      ...others,
      ...{ ...reservation, hex, echo, endAfterMs },
      escape: options.escape === 'none' ? undefined : options.escape,
      stopped: stop.asked,
    })
  })
}

function wishOf({ watch, takeOver, exclusive }: Options): Wish {
  const wishes = [watch && 'watch', takeOver && 'take-over', exclusive && 'exclusive'].filter(each => each)
  if (wishes.length > 1)
    throw usage(`--${wishes[0]} and --${wishes[1]}`, 'they contradict each other', 'Keep one of them')
  return (wishes[0] as Wish | undefined) ?? 'share'
}

function escapeOf(text: string): number | 'none' {
  if (text === 'none') return text
  if (/^[\x21-\x7e]$/.test(text)) return text.charCodeAt(0)
  if (/^\^[@-_a-z]$/.test(text)) return text.toUpperCase().charCodeAt(1) - 64
  throw usage(`--escape ${text}`, 'it is no character', 'Write one like `~` or `^A`, or `none`')
}

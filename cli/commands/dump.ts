import type { Command } from 'commander'
import { define, withContext } from '../command.ts'
import { choice } from '../option-values.ts'
import { type DumpOutput, dumpOutputs } from '../output/dump.ts'
import { parseTarget } from '../target.ts'
import { type DumpItem, directions, dumpFormats, type FlowItem } from '../views/flow.ts'

interface Options {
  readonly context?: string
  readonly agent?: string
  readonly direction?: FlowItem['unidirectional']
  readonly format?: DumpItem['format']
  readonly output?: DumpOutput
}

export function command(): Command {
  const dump = define(
    'dump',
    'What passes through a relay or a connection, as it passes, until it ends or you press Ctrl-C. It slows nothing: ' +
      'what comes faster than it can be shown is counted. The controller’s log says who looked.',
    [
      'fleetcat dump web',
      'fleetcat dump web --agent edge-1 --format hex',
      'fleetcat dump conn/c-4fk2 --direction backward -o raw > answer.bin',
    ],
  )
    .argument('<relay>', 'NAME or relay/NAME of a relay, or conn/ID')
    .option('--agent <agent>', 'only on this agent')
  return withContext(
    dump
      .addOption(choice(dump, '--direction <direction>', 'only this way', directions))
      .addOption(choice(dump, '--format <format>', 'as the relay’s own dump, or both', dumpFormats))
      .addOption(
        choice(dump, '-o, --output <output>', 'for people, for scripts, or the bytes alone', dumpOutputs),
      ),
  ).action(show)
}

async function show(text: string, options: Options): Promise<void> {
  const { target, direction, agent = '' } = { ...options, target: subject(text) }
  const [{ withFleet }, { messages }, { showDump }, { directionOf }] = await Promise.all([
    import('../client.ts'),
    import('#wire/call.ts'),
    import('../output/dump.ts'),
    import('../views/flow.ts'),
  ])
  await withFleet(options, async operator => {
    const call = operator.watchDump({ target, agent, direction: directionOf(direction) })
    await showDump(messages(call, `dump ${target}`), {
      ...options,
      oneConnection: target.startsWith('conn/'),
    })
  })
}

const subject = (text: string) =>
  text.includes('/') ? parseTarget(text, ['relay', 'conn']).text : `relay/${text}`

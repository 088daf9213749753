import type { Command } from 'commander'
import { collect } from './command.ts'
import { usage } from './failure.ts'
import { checked, choice, count } from './option-values.ts'
import { parseByteRate, parseSize } from './size.ts'
import { type DumpItem, directions, dumpFormats, type FlowItem } from './views/flow.ts'

/** What commander makes of them. */
export interface FlowOptions {
  readonly u?: true
  readonly unidirectional?: FlowItem['unidirectional']
  readonly timestamp?: true
  readonly throttle?: string
  readonly tee?: string[]
  readonly dump?: DumpItem['format']
  readonly dumpFile?: string
  readonly dumpRotate?: string
  readonly dumpKeep?: number
}

/** Adds the options that say what happens to the bytes on their way. */
export function withFlow(command: Command): Command {
  return command
    .addOption(
      choice(command, '--unidirectional <direction>', 'bytes go only forward, or only backward', directions),
    )
    .option('-u', 'the same as --unidirectional forward, to the target')
    .option('--timestamp', 'each line or datagram to the target begins with the time')
    .option(
      '--throttle <rate>',
      'at most so many bytes a second, each way on each connection: 10MB/s',
      checked(text => parseByteRate(text, '--throttle')),
    )
    .option(
      '--tee <address>',
      'a copy of what goes to the target goes there too; a slow one misses some (repeatable)',
      collect,
    )
    .addOption(choice(command, '--dump <format>', 'write down what passes, for people to read', dumpFormats))
    .option(
      '--dump-file <path>',
      'with --dump: into this file of the agent’s host; else for `fleetcat dump` only',
    )
    .option(
      '--dump-rotate <size>',
      'with --dump-file: begin a new file at this size (default: 64MiB)',
      checked(text => parseSize(text, '--dump-rotate')),
    )
    .option('--dump-keep <n>', 'with --dump-file: keep so many old files (default: 5)', count('--dump-keep'))
}

/** Throws a RelayError `usage` when options are missing that others need. */
export function flowOf(command: string, options: FlowOptions): FlowItem {
  const { u, timestamp, throttle, tee, dump, dumpFile, dumpRotate, dumpKeep } = options
  const unidirectional = options.unidirectional ?? (u && 'forward')
  if (u && unidirectional !== 'forward')
    throw usage(command, '-u means forward, and --unidirectional says backward', 'Leave out one of the two')
  const aboutFile = [
    ['--dump-rotate', dumpRotate],
    ['--dump-keep', dumpKeep],
  ].find(([, value]) => value !== undefined)
  if (aboutFile && !dumpFile)
    throw usage(command, `${aboutFile[0]} has no file to keep small`, 'Add --dump-file PATH')
  if (dumpFile && !dump)
    throw usage(
      command,
      '--dump-file does not say what to write',
      `Add --dump hex, --dump text or --dump both`,
    )
  return {
    ...(unidirectional && { unidirectional }),
    ...(timestamp && { timestamp }),
    ...(throttle && { throttle }),
    ...(tee && { tee }),
    ...(dump && {
      dump: {
        format: dump,
        ...(dumpFile && { file: dumpFile }),
        ...(dumpRotate && { rotate: dumpRotate }),
        ...(dumpKeep && { keep: dumpKeep }),
      },
    }),
  }
}

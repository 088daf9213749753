import type { Command } from 'commander'
import { type LogLevel, logLevels } from '#telemetry/log.ts'

export interface ServiceOptions {
  readonly data?: string
  readonly logLevel: LogLevel
  readonly metrics?: string
}

/** What everything that keeps running has in common. */
export function withService(command: Command, defaultData: string): Command {
  return command
    .option('--data <dir>', `where it keeps its state (default: ${defaultData})`)
    .addOption(
      command
        .createOption('--log-level <level>', 'how much to log on stderr')
        .choices([...logLevels])
        .default('info'),
    )
    .option('--metrics <host:port>', 'serve Prometheus metrics at http://HOST:PORT/metrics')
}

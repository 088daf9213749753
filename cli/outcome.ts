import { exitCodes } from './exit-codes.ts'
import { note } from './failure.ts'
import { type Format, print, renderItem } from './output/print.ts'
import { table } from './output/table.ts'
import { agentColumns, type Outcome, plainTable } from './readiness.ts'

/** A row for each agent, and the exit code that they add up to. */
export async function showOutcome({ relay, exitCode }: Outcome, said: string, output: Format): Promise<void> {
  const { agents } = relay.status
  const human = () => `${said}\n${table(agents, agentColumns, plainTable())}`
  print(await renderItem(relay, `relay/${relay.metadata.name}`, output, human))
  const away = agents.filter(({ state }) => state === 'unreachable').map(({ agent }) => agent)
  if (exitCode === exitCodes.partial && away.length > 0) note(`fleetcat: unreachable: ${away.join(', ')}`)
  if (exitCode === exitCodes.timedOut) {
    const late = agents.filter(({ state }) => state !== 'ready' && state !== 'done').map(({ agent }) => agent)
    note(
      agents.length === 0
        ? 'fleetcat: time is over: no agent matches it. `fleetcat agents` shows their labels'
        : `fleetcat: time is over: not ready on ${late.join(', ')}. \`fleetcat describe relay/${relay.metadata.name}\` shows why`,
    )
  }
  process.exitCode = exitCode
}

import type { Command } from 'commander'
import type { OperatorServiceClient } from '#gen/fleetcat/v1/operator.ts'
import { RelayError } from '#relay/errors.ts'
import { define, withContext } from '../command.ts'
import { type OutputOptions, print, renderItem, withOutput } from '../output/print.ts'
import { parseTarget, type Target } from '../target.ts'

interface Options extends OutputOptions {
  readonly context?: string
}

export function command(): Command {
  return withContext(
    withOutput(
      define('describe', 'All that is known of a relay, an agent, a connection or a revocation.', [
        'fleetcat describe relay/web',
        'fleetcat describe agent/edge-1',
        'fleetcat describe conn/c-4fk2 -o json',
        'fleetcat describe revocation/v-4fk2',
      ]).argument('<target>', 'relay/NAME, agent/NAME, conn/ID or revocation/ID'),
      { headers: false },
    ),
  ).action(describe)
}

const describable = ['relay', 'agent', 'conn', 'revocation'] as const
type Describer = (operator: OperatorServiceClient, target: Target, options: Options) => Promise<string>

async function describe(text: string, options: Options): Promise<void> {
  const target = parseTarget(text, describable)
  const { withFleet } = await import('../client.ts')
  await withFleet(options, async operator => print(await describers[target.kind](operator, target, options)))
}

const describers: Record<(typeof describable)[number], Describer> = {
  async relay(operator, { id, text }, { output }) {
    const [{ unary }, { relayItem }, { describeRelay }] = await Promise.all([
      import('#wire/call.ts'),
      import('../views/relay.ts'),
      import('../views/described.ts'),
    ])
    const filter = { selector: '', agent: '', name: id }
    const answer = await unary(operator, operator.listRelays, { filter }, { what: `describe ${text}` })
    const item = relayItem(answer.relays[0] ?? missing(text, 'list'))
    return renderItem(item, text, output, () => describeRelay(item))
  },

  async agent(operator, { id, text }, { output }) {
    const [{ unary }, { agentItem }, { relayItem }, { describeAgent }] = await Promise.all([
      import('#wire/call.ts'),
      import('../views/agent.ts'),
      import('../views/relay.ts'),
      import('../views/described.ts'),
    ])
    const what = `describe ${text}`
    const answer = await unary(operator, operator.listAgents, { selector: '', name: id }, { what })
    const item = agentItem(answer.agents[0] ?? missing(text, 'agents'))
    const filter = { selector: '', agent: id, name: '' }
    const { relays } = await unary(operator, operator.listRelays, { filter }, { what })
    return renderItem(item, text, output, () => describeAgent(item, relays.map(relayItem)))
  },

  async conn(operator, { id, text }, { output }) {
    const [{ unary }, { connectionItem }, { describeConnection }] = await Promise.all([
      import('#wire/call.ts'),
      import('../views/connection.ts'),
      import('../views/described.ts'),
    ])
    const filter = { relay: '', agent: '', source: '', id }
    const answer = await unary(operator, operator.listConnections, { filter }, { what: `describe ${text}` })
    const item = connectionItem(answer.connections[0] ?? missing(text, 'connections'))
    return renderItem(item, text, output, () => describeConnection(item))
  },

  async revocation(operator, { id, text }, { output }) {
    const [{ unary }, { revocationItem }, { describeRevocation }] = await Promise.all([
      import('#wire/call.ts'),
      import('../views/revocation.ts'),
      import('../views/described-revocation.ts'),
    ])
    const answer = await unary(operator, operator.listRevocations, { id }, { what: `describe ${text}` })
    const item = revocationItem(answer.revocations[0] ?? missing(text, 'revocations'))
    return renderItem(item, text, output, () => describeRevocation(item))
  },
}

function missing(text: string, list: string): never {
  throw new RelayError('not-found', {
    what: text,
    why: 'there is none',
    fix: `\`fleetcat ${list}\` shows what there is`,
  })
}

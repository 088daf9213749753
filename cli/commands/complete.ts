import type { Command } from 'commander'
import { sanitise } from '#telemetry/sanitise.ts'
import { define, withContext } from '../command.ts'
import { print } from '../output/print.ts'

const kinds = ['relays', 'agents', 'targets', 'revocable', 'contexts', 'addresses'] as const
type Kind = (typeof kinds)[number]

/** Names, one a line, for the scripts of `fleetcat completion`. It never says why it has none: somebody is typing. */
export function command(): Command {
  const complete = define('__complete', 'Names for completion.')
  complete.addArgument(complete.createArgument('<kind>', 'of what').choices([...kinds]))
  return withContext(complete).action(async (kind: Kind, options: { context?: string }) => {
    try {
      print((await sources[kind](options)).map(name => `${sanitise(name)}\n`).join(''))
    } catch {
      process.exitCode = 1
    }
  })
}

type Options = { readonly context?: string }
const timeoutMs = 1_000

const sources: Record<Kind, (options: Options) => Promise<string[]>> = {
  relays,
  agents,
  async targets(options) {
    const [relayNames, agentNames] = await Promise.all([relays(options), agents(options)])
    return [...relayNames.map(name => `relay/${name}`), ...agentNames.map(name => `agent/${name}`)]
  },
  async revocable(options) {
    return (await relays(options)).map(name => `relay/${name}`)
  },
  async contexts() {
    const { readConfig } = await import('../config.ts')
    return (await readConfig()).contexts.map(({ name }) => name)
  },
  async addresses() {
    const { kinds } = await import('#relay/endpoints/index.ts')
    return kinds.map(({ keyword }) => keyword)
  },
}

async function relays(options: Options): Promise<string[]> {
  const [{ withFleet }, { unary }] = await Promise.all([import('../client.ts'), import('#wire/call.ts')])
  return withFleet(options, async operator => {
    const request = { filter: undefined }
    const answer = await unary(operator, operator.listRelays, request, { what: 'complete', timeoutMs })
    return answer.relays.map(({ relay }) => relay?.name ?? '')
  })
}

async function agents(options: Options): Promise<string[]> {
  const [{ withFleet }, { unary }] = await Promise.all([import('../client.ts'), import('#wire/call.ts')])
  return withFleet(options, async operator => {
    const request = { selector: '', name: '' }
    const answer = await unary(operator, operator.listAgents, request, { what: 'complete', timeoutMs })
    return answer.agents.map(({ name }) => name)
  })
}

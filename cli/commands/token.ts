import type { Command } from 'commander'
import { collect, define, withContext } from '../command.ts'
import { parseDuration } from '../duration.ts'
import { usage } from '../failure.ts'
import { type OutputOptions, print, printList, renderItem, withOutput } from '../output/print.ts'

interface Options extends OutputOptions {
  readonly context?: string
}

interface CreateOptions extends Options {
  readonly name?: string
  readonly label?: string[]
  readonly role?: string
  readonly ttl?: number
  readonly uses?: number
}

export function command(): Command {
  return define('token', 'Join tokens: how agents and operators are let in.', [
    'fleetcat token create agent --label site=paris',
    'fleetcat token create operator --name ana --role viewer --ttl 1h',
    'fleetcat token list',
  ])
    .addCommand(createCommand())
    .addCommand(
      withContext(withOutput(define('list', 'The tokens there are, without their secrets.'))).action(list),
    )
    .addCommand(
      withContext(define('revoke', 'Make a token useless.').argument('<id>', 'its id, from the list')).action(
        revoke,
      ),
    )
}

function createCommand(): Command {
  const create = define('create', 'Make a token. It is shown once.')
  create
    .addArgument(create.createArgument('<kind>', 'whom it lets in').choices(['agent', 'operator']))
    .option('--name <name>', 'the name that the newcomer will have')
    .option('--label <name=value>', 'a label of the agent (repeatable)', collect)
  create
    .addOption(
      create
        .createOption('--role <role>', 'the role of the operator (default: operator)')
        .choices(['viewer', 'operator', 'admin']),
    )
    .option('--ttl <duration>', 'how long it can be used (default: 15m)', text =>
      parseDuration(text, '--ttl'),
    )
    .option('--uses <n>', 'how often it can be used (default: 1)', text => {
      if (!/^[1-9]\d{0,5}$/.test(text)) throw usage(`--uses ${text}`, 'it is not a whole number above 0')
      return Number(text)
    })
  return withContext(withOutput(create, { headers: false })).action(makeToken)
}

async function makeToken(kind: string, options: CreateOptions): Promise<void> {
  const [{ withFleet }, { unary }, { toDuration }, { parseLabels }, { labelText, time }] = await Promise.all([
    import('../client.ts'),
    import('#wire/call.ts'),
    import('#wire/duration.ts'),
    import('../labels.ts'),
    import('../views/words.ts'),
  ])
  const request = {
    kind,
    name: options.name ?? '',
    labels: parseLabels(options.label ?? []),
    role: options.role ?? '',
    ttl: options.ttl === undefined ? undefined : toDuration(options.ttl),
    uses: options.uses ?? 1,
  }
  await withFleet(options, async operator => {
    const { token, view } = await unary(operator, operator.createToken, request, { what: 'create the token' })
    const expiresAt = time(view?.expiresAt)
    const { name = '', labels = {}, uses = 1, id = '' } = view ?? {}
    if (options.output === 'json' || options.output === 'jsonl' || options.output === 'yaml') {
      const item = { token, kind, name, labels, expiresAt, uses, id }
      return print(await renderItem(item, `token/${id}`, options.output, () => ''))
    }
    print(`${token}\n`)
    if (options.output === 'name') return
    const who = [kind, name, labelText(labels)].filter(text => text !== '').join(' ')
    const next = kind === 'agent' ? 'fleetcat agent --join TOKEN' : 'fleetcat login TOKEN'
    process.stderr.write(
      `For ${who}, ${uses === 1 ? 'once' : `${uses} times`}, until ${expiresAt}. There: ${next}\n`,
    )
  })
}

async function list(options: Options): Promise<void> {
  const [{ withFleet }, { unary }, { tokenItem, tokens }] = await Promise.all([
    import('../client.ts'),
    import('#wire/call.ts'),
    import('../views/token.ts'),
  ])
  await withFleet(options, async operator => {
    const answer = await unary(operator, operator.listTokens, {}, { what: 'list the tokens' })
    const items = answer.tokens.map(view => tokenItem(view))
    await printList(items, tokens, options)
  })
}

async function revoke(id: string, options: Options): Promise<void> {
  const [{ withFleet }, { unary }] = await Promise.all([import('../client.ts'), import('#wire/call.ts')])
  await withFleet(options, async operator => {
    await unary(
      operator,
      operator.revokeToken,
      { id: id.replace(/^token\//, '') },
      { what: `revoke token ${id}` },
    )
    print(`token/${id.replace(/^token\//, '')} revoked\n`)
  })
}

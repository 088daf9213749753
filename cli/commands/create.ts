import { randomUUID } from 'node:crypto'
import type { Command } from 'commander'
import type { OperatorServiceClient } from '#gen/fleetcat/v1/operator.ts'
import { collect, define, withContext } from '../command.ts'
import { parseDuration } from '../duration.ts'
import { note, usage } from '../failure.ts'
import { type FlowOptions, flowOf, withFlow } from '../flow-options.ts'
import { checked, count } from '../option-values.ts'
import { type OutputOptions, print, renderItem, withOutput } from '../output/print.ts'
import { type SharingOptions, sharingOf, withSharing } from '../sharing-options.ts'
import type { LimitsItem } from '../views/relay.ts'

interface Options extends OutputOptions, FlowOptions, SharingOptions {
  readonly context?: string
  readonly on?: string[]
  readonly selector?: string
  readonly allowFrom?: string[]
  readonly denyFrom?: string[]
  readonly maxConnections?: number
  readonly rate?: number
  readonly idleTimeout?: string
  readonly maxConnectionAge?: string
  readonly lease?: string
  readonly banAfter?: string
  readonly banFor?: string
  readonly ttl?: string
  readonly window?: string[]
  readonly label?: string[]
  readonly reason?: string
  readonly wait?: true
  readonly timeout?: number
  readonly dryRun?: true
  readonly fromSocat?: string
}

export function command(): Command {
  const relay = withLimits(
    define('create', 'Starts a relay on one or many agents. Addresses are written as socat writes them.', [
      'fleetcat create web TCP4-LISTEN:8080,bind=127.0.0.1,fork TCP4:example.com:80',
      'fleetcat create db --on edge-1 TCP4-LISTEN:5432,bind=127.0.0.1,fork TCP4:10.0.0.5:5432 TCP4:10.0.0.6:5432',
      'fleetcat create app TCP4-LISTEN:8082,bind=127.0.0.1,fork TCP4:10.0.0.5:80 TCP4:10.0.0.6:80 --balance round-robin --health http:/healthz',
      'fleetcat create dns -l site=paris TCP4-LISTEN:5353,bind=127.0.0.1,fork TCP4:9.9.9.9:53 --wait',
      "fleetcat create old --from-socat 'socat -T 15 TCP4-LISTEN:8082,bind=127.0.0.1,fork TCP4:10.0.0.5:80'",
      'fleetcat create seen TCP4-LISTEN:8081,bind=127.0.0.1,fork TCP4:10.0.0.5:80 --dump both --throttle 512KiB/s',
    ])
      .argument('<name>', 'the name of the relay')
      .argument('[listen]', 'the address that waits for connections')
      .argument('[address...]', 'the targets: where they go; of several each is tried until one opens')
      .option('--from-socat <line>', 'take addresses and options from this command line of socat')
      .option('--on <agent>', 'run it on this agent (repeatable)', collect)
      .option('-l, --selector <selector>', 'run it on all agents that match, now and later'),
  )
  return withContext(
    withOutput(
      withFlow(withSharing(relay))
        .option('--ttl <duration>', 'end it so long after it is made: 2h')
        .option(
          '--window <window>',
          "open it only then, and cut what is open at its end: 'Mon-Fri 08:00-18:00 Europe/Paris' (repeatable)",
          collect,
        )
        .option('--lease <duration>', 'how long an agent that is cut off goes on: 5s to 24h (default: 60s)')
        .option('--label <name=value>', 'a label of the relay (repeatable)', collect)
        .option('--reason <text>', 'why, for those who read the list')
        .option('--wait', 'return once every agent has answered')
        .option('--timeout <duration>', 'with --wait: give up after this (default: 30s)', text =>
          parseDuration(text, '--timeout'),
        )
        .option(
          '--dry-run',
          'only let the controller check it; an agent asks its ceiling and ports when it opens the relay',
        ),
      { headers: false },
    ),
  ).action(create)
}

function withLimits(command: Command): Command {
  const duration = (option: string) => checked(text => parseDuration(text, option))
  return command
    .option('--allow-from <cidr>', 'only sources in this network may connect (repeatable)', collect)
    .option('--deny-from <cidr>', 'sources in this network may not connect (repeatable)', collect)
    .option('--max-connections <n>', 'at most so many at a time on each agent', count('--max-connections'))
    .option('--rate <n/s>', 'at most so many new connections a second on each agent: 5/s, or just 5', rate)
    .option(
      '--idle-timeout <duration>',
      'close a connection that is silent for so long',
      duration('--idle-timeout'),
    )
    .option(
      '--max-connection-age <duration>',
      'close a connection that is so old',
      duration('--max-connection-age'),
    )
    .option('--ban-after <n/duration>', 'shut a source out that was turned away so often in this time: 20/1m')
    .option('--ban-for <duration>', 'with --ban-after: for so long (default: 1h)')
}

function rate(text: string): number {
  const n = Number(/^(\d+(?:\.\d+)?)(\/s)?$/.exec(text)?.[1])
  if (!(n > 0)) throw usage(`--rate ${text}`, 'it is not a rate', 'Write for example --rate 50/s')
  return n
}

async function create(
  name: string,
  first: string | undefined,
  rest: string[],
  words: Options,
): Promise<void> {
  const { listen, targets, options } = await addressed(first, rest, words)
  const { on = [], selector = '', label = [], timeout, wait } = options
  if (on.length > 0 && selector) {
    throw usage(
      'fleetcat create',
      'both --on and -l are given',
      'Name the agents with --on, or find them with -l',
    )
  }
  if (timeout !== undefined && !wait)
    throw usage('fleetcat create', '--timeout has nothing to limit', 'Add --wait')
  if (wait && options.dryRun)
    throw usage('fleetcat create', 'a dry run makes nothing to wait for', 'Leave out --wait')
  const [{ toDraft }, { parseLabels }] = await Promise.all([import('../draft.ts'), import('../labels.ts')])
  const labels = parseLabels(label, { host: true })
  const description = {
    name,
    labels,
    reason: options.reason ?? '',
    spec: {
      listen,
      targets,
      agents: on,
      selector,
      limits: limits(options),
      ...sharingOf('fleetcat create', options),
      ...flowOf('fleetcat create', options),
      ...(options.lease !== undefined && { lease: options.lease }),
      ...(options.window && { windows: options.window }),
      ...(options.ttl !== undefined && { ttl: options.ttl }),
    },
  }
  const draft = await toDraft(description)
  const [{ withFleet }, { onlyAgent }, { unary }, { relayItem }] = await Promise.all([
    import('../client.ts'),
    import('../placement.ts'),
    import('#wire/call.ts'),
    import('../views/relay.ts'),
  ])
  await withFleet(options, async operator => {
    if (on.length === 0 && !selector) draft.spec!.agents = [await onlyAgent(operator, `relay/${name}`)]
    const request = { draft, requestId: randomUUID(), dryRun: options.dryRun ?? false }
    const answer = await unary(operator, operator.createRelay, request, { what: `create relay/${name}` })
    const { noteUnknownHosts } = await import('../unknown-hosts.ts')
    await noteUnknownHosts(operator, [...targets, ...(draft.spec?.tee ?? [])])
    if (wait) return waited(operator, name, answer.unchanged, options)
    const item = relayItem(answer.relay!)
    const done = options.dryRun
      ? answer.unchanged
        ? 'unchanged (dry run)'
        : 'would be created (dry run)'
      : answer.unchanged
        ? 'unchanged'
        : 'created'
    print(await renderItem(item, `relay/${name}`, options.output, () => `relay/${name} ${done}\n`))
    if (item.status.agents.length === 0 && !options.dryRun) {
      note('No agent matches it yet; it starts on each that will. `fleetcat agents` shows their labels.')
    }
  })
}

/** The addresses as they stand on the command line, or as a command line of socat has them. */
async function addressed(listen: string | undefined, targets: string[], options: Options) {
  if (options.fromSocat === undefined) {
    if (listen === undefined || targets.length === 0) {
      const missing = listen === undefined ? 'the address that waits for connections' : 'a target'
      throw usage('fleetcat create', `${missing} is missing`, 'Write `fleetcat create NAME LISTEN TARGET…`')
    }
    return { listen, targets, options }
  }
  if (listen !== undefined) {
    throw usage(
      'fleetcat create',
      'there are addresses beside --from-socat, which has its own',
      'Keep one of the two',
    )
  }
  const { fromSocat } = await import('../socat/from-socat.ts')
  const found = fromSocat(options.fromSocat)
  for (const text of found.notes) note(text)
  return { listen: found.listen, targets: [found.target], options: { ...found.options, ...options } }
}

function limits(options: Options): LimitsItem {
  const { allowFrom, denyFrom, maxConnections, rate, idleTimeout, maxConnectionAge, banAfter, banFor } =
    options
  if (banFor !== undefined && banAfter === undefined)
    throw usage('fleetcat create', '--ban-for has nothing to last', 'Add for example --ban-after 20/1m')
  return {
    ...(allowFrom && { allowFrom }),
    ...(denyFrom && { denyFrom }),
    ...(maxConnections && { maxConnections }),
    ...(rate && { ratePerSecond: rate }),
    ...(idleTimeout && { idleTimeout }),
    ...(maxConnectionAge && { maxConnectionAge }),
    ...(banAfter !== undefined && { banAfter }),
    ...(banFor !== undefined && { banFor }),
  }
}

async function waited(
  operator: OperatorServiceClient,
  name: string,
  unchanged: boolean,
  options: Options,
): Promise<void> {
  const [{ untilReady }, { showOutcome }] = await Promise.all([
    import('../readiness.ts'),
    import('../outcome.ts'),
  ])
  const outcome = await untilReady(operator, name, options.timeout ?? 30_000)
  await showOutcome(outcome, `relay/${name} ${unchanged ? 'unchanged' : 'created'}`, options.output)
}

import { type CommandRow, commands, hidden } from './commands.ts'
import { interrupted } from './signals.ts'

/** Set by the launcher for this process only; a child that a relay starts has nothing to do with it. */
delete process.env.NODE_COMPILE_CACHE

let failing: Promise<never> | undefined
process.stdout.on('error', unwritten)
process.stderr.on('error', unwritten)
process.on('SIGINT', interrupted)
process.exitCode = await main(process.argv.slice(2))
await flushed()
await failing
process.exit()

async function main(argv: readonly string[]): Promise<number> {
  const { first, rest } = split(argv)
  if (first === undefined || first === '--help' || first === '-h') return overview(first === undefined)
  if (first === 'help')
    return rest[0] === undefined ? overview() : main([rest[0], ...rest.slice(1), '--help'])
  if (first === '--version' || first === '-V') return main(['version', ...rest])
  const row = [...commands, ...hidden].find(({ name }) => name === first)
  return row ? run(row, rest) : unknown(first)
}

/** Nothing asked for is a question for help, but a script that forgot the command must notice. */
async function overview(forgotten = false): Promise<number> {
  const help = await import('./help.ts')
  const stream = forgotten ? process.stderr : process.stdout
  stream.write(help.overview())
  return forgotten ? 2 : 0
}

async function run(row: CommandRow, words: readonly string[]): Promise<number> {
  if (row.own && words[0] !== '--help') return (await row.own()).run(words)
  const { execute } = await import('./command.ts')
  return execute((await row.load()).command(), words)
}

async function unknown(word: string): Promise<number> {
  const [{ report, usage }, { nearest }] = await Promise.all([
    import('./failure.ts'),
    import('#relay/nearest.ts'),
  ])
  const near = nearest(
    word,
    commands.map(({ name }) => name),
  )
  const isOption = word.startsWith('-')
  return report(
    usage(
      `unknown ${isOption ? 'option' : 'command'} \`${word}\``,
      isOption ? 'options come after the command' : near ? `the nearest is \`${near}\`` : '',
      near ? `Did you mean \`fleetcat ${near}\`?` : '`fleetcat --help` lists the commands',
    ),
    'fleetcat',
  )
}

/** `fleetcat --context prod list` means `fleetcat list --context prod`. */
function split(argv: readonly string[]): { first: string | undefined; rest: readonly string[] } {
  const given = argv[0]?.startsWith('--context=') ? 1 : argv[0] === '--context' && argv.length > 1 ? 2 : 0
  return { first: argv[given], rest: [...argv.slice(given + 1), ...argv.slice(0, given)] }
}

/** Whoever read our answer has had enough of it (`fleetcat list | head -1`), or it could not be written. */
function unwritten(error: NodeJS.ErrnoException): void {
  if (error.code === 'EPIPE') process.exit(0)
  failing ??= (async () => {
    const [{ report }, { RelayError }] = await Promise.all([
      import('./failure.ts'),
      import('#relay/errors.ts'),
    ])
    process.exit(await report(RelayError.from(error, 'the answer could not be written'), 'fleetcat'))
  })()
}

async function flushed(): Promise<void> {
  for (const stream of [process.stdout, process.stderr]) {
    if (stream.writableLength > 0) await new Promise(resolve => stream.write('', resolve))
  }
  // What went wrong with the last word is told in the next turn.
  await new Promise(resolve => setImmediate(resolve))
}

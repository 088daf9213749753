import { Command, CommanderError, type Option } from 'commander'
import type { RelayError } from '#relay/errors.ts'
import { exitCodes } from './exit-codes.ts'
import { report, usage } from './failure.ts'

/** A command of this program: `name` is what stands behind `fleetcat`. */
export function define(name: string, summary: string, examples: readonly string[] = []): Command {
  const command = new Command(name)
    .description(summary)
    .helpOption('-h, --help', 'this help')
    .configureHelp({ sortOptions: false, optionDescription })
    .allowExcessArguments(false)
    .showSuggestionAfterError(true)
  if (examples.length > 0)
    command.addHelpText('after', `\nExamples:\n${examples.map(line => `  ${line}\n`).join('')}`)
  return command
}

/** `what Enter sends: cr, lf, crlf (default: cr)` */
function optionDescription({
  description,
  argChoices,
  defaultValue,
  defaultValueDescription,
}: Option): string {
  const choices = argChoices ? `: ${argChoices.join(', ')}` : ''
  const isSaid = defaultValue !== undefined && typeof defaultValue !== 'boolean'
  const usual = isSaid ? ` (default: ${defaultValueDescription ?? String(defaultValue)})` : ''
  return `${description}${choices}${usual}`
}

/** Adds the option by which a command finds its fleet. */
export const withContext = (command: Command): Command =>
  command.option('--context <context>', 'another context than the current one')

/** Collects what a repeatable option was given. */
export const collect = (value: string, before: readonly string[] | undefined): string[] => [
  ...(before ?? []),
  value,
]

/** Runs the command with the words behind its name. Answers the exit code; what failed has been said. */
export async function execute(command: Command, words: readonly string[]): Promise<number> {
  const path = `fleetcat ${command.name()}`
  command.name(path)
  prepare(command)
  process.exitCode = exitCodes.ok
  let acting = command
  command.hook('preAction', (_, chosen) => {
    acting = chosen
  })
  try {
    await command.parseAsync(words, { from: 'user' })
    return Number(process.exitCode)
  } catch (thrown) {
    if (thrown instanceof CommanderError && thrown.exitCode === 0) return exitCodes.ok
    const failed = await report(thrown instanceof CommanderError ? misuse(thrown, path) : thrown, path)
    return failureCode(acting, failed)
  }
}

const comparisons = new WeakSet<Command>()

/** For commands that answer a question with 0 and 1: whatever fails is above 1. */
export function isComparison(command: Command): Command {
  comparisons.add(command)
  return command
}

const failureCode = (command: Command, code: number) =>
  comparisons.has(command) && code === exitCodes.failed ? exitCodes.usage : code

/** Keeps commander from printing and exiting by itself, at every level. */
function prepare(command: Command): void {
  command.exitOverride().configureOutput({ writeErr: () => {} })
  for (const child of command.commands) prepare(child)
}

/** Commander's `error: unknown option '--tll'\n(Did you mean --ttl?)` in our three parts. */
function misuse(error: CommanderError, path: string): RelayError {
  if (error.code === 'commander.help') return usage(path, 'what to do is missing', `See \`${path} --help\``)
  const [first = '', ...more] = error.message.replace(/^error: /, '').split('\n')
  const meant = /Did you mean (.*)\?/.exec(more.join(' '))?.[1]
  return usage(path, first, meant ? `Did you mean ${meant}?` : `See \`${path} --help\``)
}

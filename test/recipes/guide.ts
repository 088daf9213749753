import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Fleet } from '../e2e/fleet.ts'
import { launcher, type Outcome, type Program, root, run, startProgram } from '../resources/program.ts'

/** What a page of the guide tells its reader to write. */
export interface Page {
  /** The lines under `permit:` in its blocks of YAML. */
  readonly permit: readonly string[]
  /** The commands of its blocks without a language, in order, without their comments. */
  readonly commands: readonly string[]
}

/** A page of the guide, with words that this machine has no room for exchanged for others: ports, agents, paths. */
export function readPage(name: string, exchanged: Record<string, string> = {}): Page {
  let text = readFileSync(join(root, 'docs/guide', `${name}.md`), 'utf8')
  for (const [printed, meant] of Object.entries(exchanged)) {
    if (!text.includes(printed)) throw new Error(`docs/guide/${name}.md does not have \`${printed}\``)
    text = text.replaceAll(printed, meant)
  }
  const blocks = [...text.matchAll(/```(\w*)\n([^`]*)```/g)].map(([, language, block = '']) => ({
    language,
    lines: block.split('\n').flatMap(line => line.replace(/\s+#.*$/, '').trimEnd() || []),
  }))
  return {
    permit: blocks
      .filter(({ language }) => language === 'yaml')
      .flatMap(({ lines }) => lines.flatMap(line => /^\s+- (.+)$/.exec(line)?.[1] ?? [])),
    commands: blocks.filter(({ language }) => language === '').flatMap(({ lines }) => lines),
  }
}

/** The options of an agent whose ceiling is what the page says. */
export function permitted({ permit }: Page): { args: string[] } {
  return { args: permit.flatMap(pattern => ['--permit', pattern]) }
}

/** Types the commands one after the other, as the fleet's admin; the first that fails ends it. */
export function follow({ commands }: Page, fleet: Fleet): Promise<Outcome> {
  // Not on standard input, of which ssh would take the rest.
  const script = commands.filter(command => !isKept(command)).join('\n')
  return run(['bash', '-e', '-o', 'pipefail', '-c', script], {
    env: { FLEETCAT_HOME: join(fleet.folder, 'home'), PATH: `${join(launcher, '..')}:${process.env.PATH}` },
    cwd: fleet.folder,
  })
}

/** What runs until Ctrl-C, in a terminal of its own. */
const isKept = (command: string) => command.startsWith('fleetcat forward')

/** Those commands of the page that go on running while the others are typed. By default as the fleet's admin. */
export function startKept(
  { commands }: Page,
  { folder }: Fleet,
  home = join(folder, 'home'),
): { programs: readonly Program[] } & AsyncDisposable {
  const held = new AsyncDisposableStack()
  const programs = commands.filter(isKept).map(command => {
    const words = command.split(/\s+/).slice(1)
    return held.use(startProgram([launcher, ...words], { env: { FLEETCAT_HOME: home }, cwd: folder }))
  })
  return { programs, [Symbol.asyncDispose]: () => held.disposeAsync() }
}

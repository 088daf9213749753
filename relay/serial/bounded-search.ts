import { type Context, createContext, Script } from 'node:vm'

/** What one search may take. A pattern that needs longer would hold up all that this process does. */
const withinMs = 50

/** Only a script can be stopped from outside, and a regular expression with it. */
const script = new Script('search()')
const bench: { search?: () => void } = {}
let context: Context | undefined

/** The lines that the pattern is in. Undefined if finding that out takes too long, as it does for some patterns. */
export function boundedSearch(pattern: RegExp, lines: readonly string[]): readonly string[] | undefined {
  let found: readonly string[] = []
  bench.search = () => {
    found = lines.filter(line => {
      pattern.lastIndex = 0
      return pattern.test(line)
    })
  }
  context ??= createContext(bench)
  try {
    script.runInContext(context, { timeout: withinMs })
    return found
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ERR_SCRIPT_EXECUTION_TIMEOUT') return undefined
    throw thrown
  }
}

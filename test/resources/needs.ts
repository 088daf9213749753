import { spawnSync } from 'node:child_process'
import { test } from 'vitest'

/** What a test needs of its machine beyond Node. `root` is a right; the others are programs. */
type Need = 'root' | (string & {})

const found = new Map<Need, boolean>()

function there(need: Need): boolean {
  let known = found.get(need)
  if (known === undefined) {
    known =
      need === 'root' ? process.getuid?.() === 0 : spawnSync('sh', ['-c', `command -v ${need}`]).status === 0
    found.set(need, known)
  }
  return known
}

/**
 * `test`, or where something is missing a skipped test that says what. With CI=true nothing is skipped: the test runs,
 * and fails for want of it.
 */
export function needing(...needs: Need[]): typeof test {
  const missing = needs.filter(need => !there(need))
  if (missing.length === 0 || process.env.CI === 'true') return test
  const skipped = (name: string, ...rest: unknown[]) => {
    const body = rest.find(each => typeof each === 'function') as () => void
    test.skip(`${name} (skipped: no ${missing.join(', no ')})`, body)
  }
  return skipped as unknown as typeof test
}

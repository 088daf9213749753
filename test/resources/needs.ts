import { spawnSync } from 'node:child_process'
import { test } from 'vitest'

/** What a test needs of its machine beyond Node. `root` is a right, `$NAME` a variable that says where something is; the others are programs. */
type Need = 'root' | (string & {})

const found = new Map<Need, boolean>()

function there(need: Need): boolean {
  let known = found.get(need)
  if (known === undefined) {
    known = look(need)
    found.set(need, known)
  }
  return known
}

function look(need: Need): boolean {
  if (need === 'root') return process.getuid?.() === 0
  if (need.startsWith('$')) return Boolean(process.env[need.slice(1)])
  return spawnSync('sh', ['-c', `command -v ${need}`]).status === 0
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

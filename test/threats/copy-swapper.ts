import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * As `link-swapper.ts`, in a directory where somebody else makes entries of the same names meanwhile: what does not go is
 * tried again.
 */
const [root = ''] = process.argv.slice(2)
const at = (name: string) => join(root, 'permitted', name)

function attempt(...acts: readonly (() => void)[]): void {
  for (const act of acts) {
    try {
      act()
    } catch {
      // the other one was faster
    }
  }
}

for (let turn = 0; ; turn++) {
  attempt(
    () => mkdirSync(at('place')),
    () => writeFileSync(at('place/file'), 'harmless', { flag: 'wx' }),
    () => rmSync(at('next'), { force: true }),
    () => writeFileSync(at('next'), 'harmless', { flag: 'wx' }),
    () => renameSync(at('next'), at('swapped')),
    () => symlinkSync(join(root, 'secret/file'), at('next')),
    () => renameSync(at('next'), at('swapped')),
    () => renameSync(at('place'), at('aside')),
    () => symlinkSync(join(root, 'secret'), at('place')),
    () => rmSync(at('place')),
    () => renameSync(at('aside'), at('place')),
    () => rmSync(at('aside'), { recursive: true }),
  )
  if (turn === 0) process.send?.('it has begun')
}

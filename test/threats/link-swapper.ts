import { mkdirSync, renameSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * As fast as it can, exchanges two entries of a permitted directory for links to what is secret, and back: a file, and a
 * directory. It says once that it has begun.
 */
const [root = ''] = process.argv.slice(2)
const at = (name: string) => join(root, 'permitted', name)
mkdirSync(at('place'))
writeFileSync(at('place/file'), 'harmless')
for (let turn = 0; ; turn++) {
  writeFileSync(at('next'), 'harmless')
  renameSync(at('next'), at('swapped'))
  symlinkSync(join(root, 'secret/file'), at('next'))
  renameSync(at('next'), at('swapped'))
  renameSync(at('place'), at('aside'))
  symlinkSync(join(root, 'secret'), at('place'))
  unlinkSync(at('place'))
  renameSync(at('aside'), at('place'))
  if (turn === 0) process.send?.('it has begun')
}

import { readFileSync } from 'node:fs'
import { saveIdentity } from '#identity/files.ts'

/** Saves the identities of a file in turns, for ever: a program to be killed in the middle of it. */
const [directory = '', source = ''] = process.argv.slice(2)
const identities = JSON.parse(readFileSync(source, 'utf8'))
for (let turn = 0; ; turn++) {
  await saveIdentity(directory, identities[turn % identities.length])
  process.stdout.write('.')
}

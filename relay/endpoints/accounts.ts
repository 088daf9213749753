import { readFile } from 'node:fs/promises'
import { RelayError } from '../errors.ts'

/**
 * The number of a user or a group of this host. Node asks the system's directories for nobody but its own user, so
 * names are looked up in `/etc/passwd` and `/etc/group`. Throws a RelayError `not-found`.
 */
export async function accountId(kind: 'user' | 'group', text: string, what: string): Promise<number> {
  if (/^\d+$/.test(text)) return Number(text)
  const file = kind === 'user' ? '/etc/passwd' : '/etc/group'
  for (const line of (await readFile(file, 'utf8')).split('\n')) {
    const [name, , id] = line.split(':')
    if (name === text && id !== undefined) return Number(id)
  }
  throw new RelayError('not-found', {
    what,
    why: `${file} has no ${kind} \`${text}\``,
    fix: `Write the ${kind}'s number if it is known from elsewhere`,
  })
}

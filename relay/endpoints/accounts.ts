import { readFileSync } from 'node:fs'
import { RelayError } from '../errors.ts'

/** A user of this host. */
export interface Account {
  readonly name: string
  readonly uid: number
  readonly gid: number
  readonly home: string
  readonly shell: string
}

/** A group of this host. */
export interface Group {
  readonly name: string
  readonly gid: number
}

/**
 * The user of this name or number. Node asks the system's directories for nobody but its own user, so users are looked
 * up in `/etc/passwd`, and groups in `/etc/group`.
 */
export function accountOf(user: string): Account | undefined {
  for (const [name = '', , uid = '', gid = '', , home = '/', shell = ''] of entriesOf('/etc/passwd')) {
    if (user === name || user === uid) {
      return { name, uid: Number(uid), gid: Number(gid), home, shell: shell || '/bin/sh' }
    }
  }
  return undefined
}

export function groupOf(group: string): Group | undefined {
  for (const [name = '', , gid = ''] of entriesOf('/etc/group')) {
    if (group === name || group === gid) return { name, gid: Number(gid) }
  }
  return undefined
}

/** The number of a user or a group of this host. Rejects with a RelayError `not-found`. */
export async function accountId(kind: 'user' | 'group', text: string, what: string): Promise<number> {
  if (/^\d+$/.test(text)) return Number(text)
  const id = kind === 'user' ? accountOf(text)?.uid : groupOf(text)?.gid
  if (id !== undefined) return id
  throw unknownAccount(kind, text, what)
}

export function unknownAccount(kind: 'user' | 'group', text: string, what: string): RelayError {
  const why = `${kind === 'user' ? '/etc/passwd' : '/etc/group'} has no ${kind} \`${text}\``
  const fix = `Write the ${kind}'s number if it is known from elsewhere`
  return new RelayError('not-found', { what, why, fix })
}

function entriesOf(file: string): string[][] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .map(line => line.split(':'))
}

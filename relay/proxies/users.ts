import { createHmac, randomBytes, scrypt, timingSafeEqual } from 'node:crypto'
import { RelayError } from '../errors.ts'
import type { Login } from './socks5.ts'

/** Who may log in. Small and slow on purpose: a password that is guessed costs as much as one that is right. */
export interface Users {
  accepts(login: Login): Promise<boolean>
}

interface Hashed {
  readonly salt: Buffer
  readonly hash: Buffer
  readonly cost: { readonly N: number; readonly r: number; readonly p: number }
}

type Secret = string | Hashed

const mostMemory = 128 * 1024 * 1024

/**
 * Reads lines of `user:password` and `user:$scrypt$ln=15,r=8,p=1$<salt>$<hash>`; empty ones and those that begin with
 * `#` say nothing. Throws a RelayError that names the line, and no word of what is in it.
 */
export function parseUsers(text: string, what: string): Users {
  const secrets = new Map<string, Secret>()
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line === '' || line.startsWith('#')) continue
    const at = line.indexOf(':')
    const secret = readSecret(line.slice(at + 1))
    if (at < 1 || !secret) {
      const fix = 'Write `user:password`, or `user:$scrypt$ln=15,r=8,p=1$<salt>$<hash>`'
      throw new RelayError('usage', {
        what: `${what}, line ${index + 1}`,
        why: 'it is no user with a password',
        fix,
      })
    }
    secrets.set(line.slice(0, at), secret)
  }
  return usersOf(secrets)
}

function usersOf(secrets: ReadonlyMap<string, Secret>): Users {
  // What no password hashes to is compared for users that are not there, so that nobody learns who is.
  const decoy = [...secrets.values()].find(secret => typeof secret !== 'string') ?? ''
  const key = randomBytes(32)
  const digest = (text: string) => createHmac('sha256', key).update(text).digest()
  const proven = new Set<string>()
  let last: Promise<unknown> = Promise.resolve()

  /** One at a time: each takes a thread and much memory, and whoever wants to may ask for many. */
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const turn = last.then(work)
    last = turn.catch(() => {})
    return turn
  }

  return {
    async accepts({ user, password }) {
      const secret = secrets.get(user)
      const against = secret ?? decoy
      if (typeof against === 'string') {
        return timingSafeEqual(digest(password), digest(against)) && secret !== undefined
      }
      const proof = digest(`${user}\0${password}`).toString('base64')
      if (proven.has(proof)) return true
      const isRight = await inTurn(() => fits(password, against))
      if (!isRight || secret === undefined) return false
      proven.add(proof)
      return true
    },
  }
}

/** Undefined for what only looks like a hash: it is no password that anybody would choose. */
function readSecret(text: string): Secret | undefined {
  if (!text.startsWith('$')) return text === '' ? undefined : text
  const [, ln, r, p, salt = '', hash = ''] =
    /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d)\$([\w+/.-]+)=*\$([\w+/.-]+)=*$/.exec(text) ?? []
  const cost = { N: 2 ** Number(ln), r: Number(r), p: Number(p) }
  const memory = 128 * cost.N * cost.r
  if (!(memory > 0 && memory < mostMemory && cost.p > 0)) return undefined
  // Some write a dot for a plus.
  const bytes = (field: string) => Buffer.from(field.replaceAll('.', '+'), 'base64')
  return bytes(hash).length < 16 ? undefined : { salt: bytes(salt), hash: bytes(hash), cost }
}

function fits(password: string, { salt, hash, cost }: Hashed): Promise<boolean> {
  return new Promise((resolve, reject) => {
    scrypt(password, salt, hash.length, { ...cost, maxmem: 2 * mostMemory }, (error, made) => {
      if (error) reject(error)
      else resolve(timingSafeEqual(made, hash))
    })
  })
}

import { open, unlink } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Address } from '../address.ts'
import type { OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { inPlace } from '../files/place.ts'

/** How often it is looked whether the file of another has gone. */
const lookEveryMs = 200

/** The file as the ceiling sees it. */
export function lockScope(path: string): Address {
  const options = ['wronly', 'creat'].map(name => ({ name, at: 0 }))
  return { keyword: 'OPEN', args: [path], options, text: `OPEN:${path},wronly,creat` }
}

/**
 * Makes the file, with the number of this process in it, and removes it on disposal. If it is there already: waits until
 * it has gone, or rejects with a RelayError. `what` is the address that it belongs to.
 */
export async function holdLock(
  scope: Address,
  mode: 'try' | 'wait',
  what: string,
  cx: Pick<OpenContext, 'egress' | 'signal'>,
): Promise<AsyncDisposable> {
  const path = scope.args[0]!
  cx.egress.check(scope)
  for (;;) {
    const made = await make(scope, what, cx)
    if (made) return { [Symbol.asyncDispose]: () => unlink(made).catch(() => {}) }
    if (mode === 'try') {
      throw new RelayError('conflict', {
        what: `${what}: lock file ${path}`,
        why: 'it is there already, so somebody else holds it',
        fix: 'If nobody does, remove it; `waitlock=` waits until it has gone',
      })
    }
    await sleep(lookEveryMs, undefined, { signal: cx.signal }).catch(() => {
      throw RelayError.from(cx.signal.reason, `${what}: the wait for ${path}`)
    })
  }
}

/** Where it was made; undefined if there is one already. */
async function make(
  scope: Address,
  what: string,
  cx: Pick<OpenContext, 'egress'>,
): Promise<string | undefined> {
  try {
    return await inPlace(scope, cx, async ({ name, path }) => {
      await using file = await open(name, 'wx', 0o644)
      await file.writeFile(`${process.pid}\n`)
      return path
    })
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'EEXIST') return undefined
    throw RelayError.from(thrown, `${what}: lock file ${scope.args[0]}`)
  }
}

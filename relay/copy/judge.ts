import { type Address, formatAddress, type Option } from '../address.ts'
import type { OpenContext } from '../endpoint.ts'
import { checkLanding } from '../endpoints/landing.ts'

/** Asks the ceiling about an entry, by its path from the root of the copy. Throws the refusal. */
export type Judge = (path: string) => void

export interface Judged {
  readonly scope: Address
  /** The root of the copy as it was named, and where it really is. */
  readonly named: string
  readonly real: string
  /** What is done to a file, in the words of OPEN: a line that forbids it there forbids it here. */
  readonly asOpen: readonly Option[]
}

/**
 * Each entry is permitted by itself: a line for a directory alone, or with one star, does not permit what is further
 * down, and what a line forbids stays out of a copy of the directory above it.
 */
export function judge(
  { scope, named, real, asOpen }: Judged,
  { egress }: Pick<OpenContext, 'egress'>,
): Judge {
  const at = (keyword: string, options: readonly Option[], path: string): Address => {
    const address = { keyword, args: [path], options }
    return { ...address, text: formatAddress(address) }
  }
  return path => {
    const entry = below(named, path)
    const its = at(scope.keyword, scope.options, entry)
    egress.check(its)
    egress.checkForbidden?.(at('OPEN', asOpen, entry))
    const place = below(real, path)
    if (place === entry) return
    checkLanding(its, place, { egress })
    egress.checkForbidden?.(at('OPEN', asOpen, place))
  }
}

function below(root: string, path: string): string {
  if (path === '') return root
  return root === '/' ? `/${path}` : `${root}/${path}`
}

export const reading: readonly Option[] = [{ name: 'rdonly', at: 0 }]
export const making: readonly Option[] = [
  { name: 'wronly', at: 0 },
  { name: 'creat', at: 0 },
]

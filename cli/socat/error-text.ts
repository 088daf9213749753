import { getSystemErrorMessage } from 'node:util'
import type { RelayError } from '#relay/errors.ts'

/**
 * A failure as one line. What the system said of it stands in the system's own words, for scripts look for
 * `Connection refused` and its like.
 */
export function errorText(error: RelayError): string {
  const { what, fix } = error
  const system = systemWords(error)
  // Where the reason is the table's for this errno, it stands in there, in brackets or as the errno itself.
  const why = system ? error.why.replace(/ \([^()]*\)$/, '') : error.why
  const because = system ? (why ? `${system} (${why})` : system) : why
  return [because ? `${what}: ${because}` : what, fix].filter(part => part !== '').join('. ')
}

function systemWords(error: unknown): string | undefined {
  for (let at = error; at instanceof Error; at = at.cause) {
    const { errno } = at as NodeJS.ErrnoException
    const words = typeof errno === 'number' && errno < 0 ? getSystemErrorMessage(errno) : undefined
    if (words) return words[0]!.toUpperCase() + words.slice(1)
  }
  return undefined
}

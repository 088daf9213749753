import { RelayError } from '#relay/errors.ts'

/** What an agent says of itself lives here, so that it can never pass for what a token gave it. */
export const hostPrefix = 'host.'

/** Of one host, with what the agent says of it by itself. */
export const mostHostLabels = 64

const key = /^[a-z0-9]([a-z0-9._/-]{0,61}[a-z0-9])?$/i
const value = /^([a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?)?$/i

/** Throws a RelayError `usage` when a label could not be selected by, or pretends to come from the host. */
export function checkLabel(name: string, text: string, { host = false } = {}): void {
  if (!key.test(name)) {
    throw new RelayError('usage', {
      what: `label \`${name}\``,
      why: 'a label name has 1 to 63 letters, digits, `-`, `_`, `.` or `/`, and begins and ends with a letter or digit',
    })
  }
  if (!value.test(text)) {
    throw new RelayError('usage', {
      what: `label \`${name}=${text}\``,
      why: 'a label value has up to 63 letters, digits, `-`, `_` or `.`, and begins and ends with a letter or digit',
    })
  }
  if (!host && name.startsWith(hostPrefix)) {
    throw new RelayError('usage', {
      what: `label \`${name}\``,
      why: `names that begin with \`${hostPrefix}\` are what a host says of itself`,
      fix: `Leave out \`${hostPrefix}\``,
    })
  }
}

/** `k=v` as typed behind `--label`. */
export function parseLabel(text: string, options?: { host?: boolean }): [string, string] {
  const at = text.indexOf('=')
  if (at < 1)
    throw new RelayError('usage', { what: `label \`${text}\``, why: 'it is not of the form name=value' })
  const [name, given] = [text.slice(0, at), text.slice(at + 1)]
  checkLabel(name, given, options)
  return [name, given]
}

import { type Address, formatAddress, shown } from './address.ts'
import type { Endpoint } from './endpoint.ts'
import { RelayError } from './errors.ts'

/** What is no line that anybody could set, although it may look like one: `/dev/ttyUSB0` is a file as in socat. */
const files: ReadonlySet<string> = new Set(['OPEN', 'GOPEN', 'CREATE'])
const lines: ReadonlySet<string> = new Set(['SERIAL', 'RFC2217'])

/** Has what it opens a line, which goes with its bytes through a tunnel where the option `rfc2217` says so? */
export const hasLine = ({ keyword }: Address): boolean => lines.has(keyword)

/** With this, who opens it gets the line too, by RFC 2217. */
export const servesLine = ({ options }: Address): boolean =>
  options.some(({ name, value }) => name === 'rfc2217' && value !== '0')

/** The same address, with the line. */
export function withLine(address: Address): string {
  return servesLine(address) ? address.text : `${address.text},rfc2217`
}

/**
 * Where clients set the line of their target they would be told that it is as they wish, and it would not be, if the
 * target has a line that cannot be reached. Throws a RelayError `unsupported`.
 */
export function checkServedLine(listen: Endpoint, targets: readonly Endpoint[]): void {
  if (!listen.setsLine) return
  for (const target of targets) {
    const { host } = target.address
    for (const { address, scope } of target.halves ?? [target]) {
      const refused = (why: string, fix: string) => {
        const what = `address \`${shown(address.text)}\` behind ${listen.scope.keyword}`
        return new RelayError('unsupported', { what, why, fix })
      }
      if (files.has(scope.keyword)) {
        const port = { keyword: 'SERIAL', args: [address.args[0] ?? '<path>'], options: [] }
        const there = host === undefined ? port : { ...port, host }
        throw refused(
          'a file has no line that its clients could set',
          `For a serial port write \`${formatAddress(there)}\``,
        )
      }
      if (!hasLine(scope)) continue
      if (host !== undefined && target.halves) {
        throw refused('of a dual address on another host only bytes come here', 'Write one address')
      }
      if (host === undefined && servesLine(address)) {
        throw refused('with `rfc2217` it serves its line itself, and twice is once too often', 'Leave it out')
      }
    }
  }
}

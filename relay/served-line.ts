import { shown } from './address.ts'
import type { Endpoint } from './endpoint.ts'
import { RelayError } from './errors.ts'

/** What is no line that anybody could set, although it may look like one: `/dev/ttyUSB0` is a file as in socat. */
const files: ReadonlySet<string> = new Set(['OPEN', 'GOPEN', 'CREATE'])
const lines: ReadonlySet<string> = new Set(['SERIAL', 'RFC2217'])

/**
 * Where clients set the line of their target they would be told that it is as they wish, and it would not be, if the
 * target has a line that cannot be reached. Throws a RelayError `unsupported`.
 */
export function checkServedLine(listen: Endpoint, targets: readonly Endpoint[]): void {
  if (!listen.setsLine) return
  for (const { address, scope } of targets.flatMap(({ halves, ...whole }) => halves ?? [whole])) {
    const what = `address \`${shown(address.text)}\` behind ${listen.scope.keyword}`
    if (files.has(scope.keyword)) {
      const [path = '<path>'] = address.args
      const why = 'a file has no line that its clients could set'
      throw new RelayError('unsupported', { what, why, fix: `For a serial port write \`SERIAL:${path}\`` })
    }
    if (address.host !== undefined && lines.has(scope.keyword)) {
      const why = 'a tunnel carries the bytes of the port, and not its line'
      const fix = `Serve the port on ${address.host}, and reach that with \`TCP-LISTEN:<port>,fork\` and \`@${address.host}/TCP:127.0.0.1:<port>\``
      throw new RelayError('unsupported', { what, why, fix })
    }
  }
}

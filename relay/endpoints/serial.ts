import { type Address, addressError, formatAddress } from '../address.ts'
import type { EndpointKind, OpenContext } from '../endpoint.ts'
import { readPath } from '../files/path.ts'
import { dumpScope } from '../layers/dump-file.ts'
import { readOptions } from '../options.ts'
import { checkLine } from '../serial/line-settings.ts'
import { portScope } from '../serial/port-scope.ts'
import { lineWishes } from './line-options.ts'
import { deviceNames, lineNames, type SerialOptions, sameThing, serialGroups } from './serial-options.ts'

/** Serial ports: real ones, and whatever else is a terminal. */
export const serialKinds: readonly EndpointKind[] = [
  {
    keyword: 'SERIAL',
    aliases: [],
    syntax: 'SERIAL:<path>',
    summary: 'a serial port, for this relay alone unless it is shared (Linux)',
    groups: serialGroups,
    role: 'both',
    ruled: ['watch'],
    bind(address) {
      const options = readOptions(address, serialGroups)
      checkTogether(address, options)
      checkLine(lineWishes(options).settings, `address \`${address.text}\``)
      const path = readPath(address, 'SERIAL:<path>')
      // Who sets the line does more than watch, even if he is the first there and never writes.
      const onlyWatches = options.watch && !address.options.some(({ name }) => lineNames.has(name))
      const scope = portScope(path, { host: address.host, watch: onlyWatches })
      const settings = formatAddress({
        ...address,
        args: [],
        options: address.options.filter(({ name }) => deviceNames.has(name)),
      }).replace(/^[^,]*,?/, '')
      const target = { scope, path, options, settings }
      const load = () => import('../serial/dial-port.ts')
      return {
        address,
        scope,
        ...(options.log !== undefined && { writes: [dumpScope(options.log)] }),
        dialer: { dial: async (cx: OpenContext) => (await load()).dialPort(target, cx) },
        ...((options.log !== undefined || options.alert) && {
          attend: async (cx: OpenContext) => (await load()).attendPort(target, cx),
        }),
      }
    },
  },
]

/** Options that contradict each other, or that alone do nothing. */
function checkTogether(address: Address, options: SerialOptions): void {
  const at = (name: string) => address.options.find(option => option.name === name)?.at ?? 0
  const refuse = (name: string, why: string, fix: string) =>
    addressError(address.text, at(name), { code: 'usage', why, fix })
  const isGiven = (name: string) => address.options.some(option => option.name === name)
  for (const [plain, termios] of sameThing) {
    const other = address.options.find(({ name }) => termios.test(name))
    if (other && isGiven(plain)) {
      const why = `\`${plain}\` and \`${other.name}\` both say the same of the line`
      throw refuse(other.name, why, 'Keep one of them')
    }
  }
  const { share, watch, takeOver, join, exclusive, replug, notices, replay, log, alert, rfc2217 } = options
  const shares = [share && 'share', watch && 'watch', takeOver && 'take-over'].filter(name => name)
  if (exclusive && shares.length > 0) {
    throw refuse('exclusive', `\`exclusive\` and \`${shares[0]}\` contradict each other`, 'Keep one of them')
  }
  if (watch && takeOver) {
    throw refuse('watch', '`watch` and `take-over` contradict each other', 'Keep one of them')
  }
  const writing = watch && ['send', 'char-delay', 'line-delay'].find(name => isGiven(name))
  if (writing) {
    // A ceiling that lets somebody watch has not let him write.
    throw refuse(
      writing,
      `\`${writing}\` is for what is written, and who watches writes nothing`,
      'Keep one of them',
    )
  }
  if (rfc2217 && notices) {
    const why = 'to who has the line nothing is said among its bytes'
    throw refuse('notices', why, 'Leave `notices` out')
  }
  const attends = (log !== undefined && 'log') || (alert && 'alert')
  const opening = (exclusive && 'exclusive') || (takeOver && 'take-over') || attends
  if (join && opening) {
    const why = `\`join\` opens nothing and takes nothing from others, which \`${opening}\` does`
    throw refuse('join', why, 'Keep one of them')
  }
  const isShared = shares.length > 0 || Boolean(attends)
  if (attends && exclusive) {
    throw refuse('exclusive', `\`${attends}\` has the port open for itself too`, 'Leave `exclusive` out')
  }
  const idle =
    (!isShared && join && 'join') ||
    (!isShared && replay !== undefined && 'replay') ||
    (!isShared && !replug && notices && 'notices')
  if (idle) throw refuse(idle, `\`${idle}\` alone does nothing`, 'Write `share` too')
  if (isShared && replug === false) {
    throw refuse('replug', 'a shared port is always waited for', 'Leave `replug=0` out')
  }
  const logOnly =
    (options.logSize !== undefined && 'log-size') || (options.logKeep !== undefined && 'log-keep')
  if (log === undefined && logOnly) {
    throw refuse(logOnly, `\`${logOnly}\` alone does nothing`, 'Write `log=` too')
  }
}

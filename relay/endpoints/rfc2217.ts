import type { EndpointKind, OpenContext } from '../endpoint.ts'
import { connectOptions, retryOptions, socketOptions } from '../option-groups.ts'
import { readOptions } from '../options.ts'
import { checkLine } from '../serial/line-settings.ts'
import { defaultEndAfterMs } from '../serial/quiet-end.ts'
import { rfc2217Client } from '../serial/rfc2217/client.ts'
import { servedChannel } from '../serial/served-channel.ts'
import { agreedVersion, argsOf, hostArg, ipScope, portArg, withBindPort } from './ip-parts.ts'
import { lineOptions, lineUseOptions, lineWishes } from './line-options.ts'
import { retrying } from './retrying.ts'
import { defaultConnectTimeoutMs, dialTcp } from './tcp-dial.ts'

const groups = [lineOptions, lineUseOptions, socketOptions, connectOptions, retryOptions] as const

/** A serial port that another program serves: ser2net, a terminal server, another fleetcat. */
export const rfc2217Kinds: readonly EndpointKind[] = [
  {
    keyword: 'RFC2217',
    aliases: [],
    syntax: 'RFC2217:<host>:<port>',
    summary: 'a serial port behind a server of RFC 2217, with its settings and modem lines',
    groups,
    role: 'target',
    bind(address) {
      const [hostText, portText] = argsOf(address, 'RFC2217:<host>:<port>', 2)
      const host = hostArg(address, hostText!)
      const port = portArg(address, portText!, 1)
      const options = readOptions(withBindPort(address), groups)
      const family = agreedVersion(address, undefined, options.pf, host)
      const scope = ipScope(address, 'RFC2217', host, port)
      const what = scope.text
      const wishes = lineWishes(options)
      checkLine(wishes.settings, `address \`${address.text}\``)
      const dial = async (cx: OpenContext) => {
        const timeout = options.connectTimeout ?? defaultConnectTimeoutMs
        const deadline = performance.now() + timeout
        const inner = await dialTcp({ scope, host, port, family, options }, cx)
        const withinMs = Math.max(1, deadline - performance.now())
        const endAfterMs = options.endAfter ?? defaultEndAfterMs
        const channel = await rfc2217Client(inner, { what, withinMs, endAfterMs, ...wishes }, cx)
        return options.rfc2217 ? servedChannel(channel) : channel
      }
      return { address, scope, dialer: { dial: cx => retrying(options, cx, () => dial(cx)) } }
    },
  },
]

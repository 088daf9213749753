import type { Address } from '../address.ts'
import type { EndpointKind, OpenContext } from '../endpoint.ts'
import { listenOptions, retryOptions, socketOptions } from '../option-groups.ts'
import { valued } from '../option-types.ts'
import { type OptionGroup, readOptions } from '../options.ts'
import { socksServer } from '../proxies/socks-server.ts'
import type { Login } from '../proxies/socks5.ts'
import { parseUsers, type Users } from '../proxies/users.ts'
import { agreedVersion, argsOf, ipScope, portArg } from './ip-parts.ts'
import { acceptProxyOptions } from './proxy-protocol-options.ts'
import { retrying } from './retrying.ts'
import { handshakeMs, listenScreened } from './screened-listen.ts'
import { readSecretFile, secretStamp } from './secret-file.ts'
import { checkReads, readScopes } from './tls-reads.ts'

const socksListenOptions = {
  name: 'socks-listen',
  options: {
    usersFile: valued<string>(
      'users-file',
      { summary: 'who may log in: a file of lines `user:password`, readable to its owner only' },
      '<file>',
      '/etc/fleetcat/users',
      text => ({ value: text }),
    ),
  },
} as const satisfies OptionGroup

const groups = [socksListenOptions, socketOptions, listenOptions, acceptProxyOptions, retryOptions] as const

/** A proxy for others: their clients say where they want to go. */
export const socksListenKinds: readonly EndpointKind[] = [
  {
    keyword: 'SOCKS-LISTEN',
    aliases: ['SOCKS-L'],
    syntax: 'SOCKS-LISTEN:<port>',
    summary: 'a proxy that speaks SOCKS4, SOCKS4a and SOCKS5, CONNECT only; its target is ASKED',
    groups,
    role: 'listen',
    provesSources: true,
    bind(address) {
      const [portText] = argsOf(address, 'SOCKS-LISTEN:<port>', 1)
      const port = portArg(address, portText!, 0)
      const options = readOptions(address, groups)
      const family = agreedVersion(address, undefined, options.pf, options.bind ?? '')
      const host = options.bind ?? (family === 6 ? '::' : '0.0.0.0')
      const scope = ipScope(address, 'SOCKS-LISTEN', host, port)
      const reads = readScopes({ cert: options.usersFile })
      const { range, allow, deny, maxChildren, usersFile } = options
      const tcp = { scope, host, port, family, options, trustedProxies: options.trustedProxies }
      const listen = async (cx: OpenContext) => {
        const accepts =
          usersFile === undefined ? undefined : await openLogins(usersFile, reads, cx, scope.text)
        return await listenScreened(tcp, socksServer({ what: scope.text, accepts }, handshakeMs(options)), cx)
      }
      return {
        address,
        scope,
        reads,
        asks: true,
        acceptor: { listen: cx => retrying(options, cx, () => listen(cx)) },
        admission: { range, allow, deny, maxChildren },
      }
    },
  },
]

/** Reads the file at once, so that one that is wrong is known; and anew when it has changed. */
async function openLogins(path: string, reads: readonly Address[], cx: OpenContext, listener: string) {
  const what = `${listener}: users ${path}`
  let kept: { stamp: string; users: Users } | undefined
  const current = async (): Promise<Users> => {
    checkReads(reads, cx, listener)
    const stamp = await secretStamp(path)
    if (kept?.stamp !== stamp) kept = { stamp, users: parseUsers(await readSecretFile(path, what), what) }
    return kept.users
  }
  await current()
  return async (login: Login) => (await current()).accepts(login)
}

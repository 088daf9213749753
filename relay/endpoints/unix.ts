import type { Option } from '../address.ts'
import type { EndpointKind, OpenContext } from '../endpoint.ts'
import { connectOptions, listenOptions, namedOptions, retryOptions, socketOptions } from '../option-groups.ts'
import { flag, refused } from '../option-types.ts'
import { type OptionGroup, type OptionValues, readOptions } from '../options.ts'
import { present } from './presented.ts'
import { sendProxyOptions } from './proxy-protocol-options.ts'
import { retrying } from './retrying.ts'
import { modeOf, type SocketFileOptions } from './socket-file.ts'
import { dialUnix } from './unix-dial.ts'
import { listenUnix } from './unix-listen.ts'
import { readName, type SocketName, scopeOf } from './unix-name.ts'

const { fork, maxChildren, backlog, acceptTimeout } = listenOptions.options
const { sndbuf, rcvbuf } = socketOptions.options

const unixOptions = {
  name: 'unix',
  options: {
    sndbuf: { ...sndbuf, unsupported: 'Node sets no buffer sizes on Unix sockets. Leave it out' },
    rcvbuf: { ...rcvbuf, unsupported: 'Node sets no buffer sizes on Unix sockets. Leave it out' },
    tightsocklen: refused('tightsocklen', {
      aliases: ['unix-tightsocklen'],
      summary: 'how the length of the name is passed to the kernel',
      because: "names are passed as they are written, as with socat's default. Leave it out",
    }),
  },
} as const satisfies OptionGroup

const unixConnectOptions = {
  name: 'connect',
  options: {
    connectTimeout: connectOptions.options.connectTimeout,
    bind: refused('bind', {
      summary: 'the name to connect from',
      because: 'Node connects to a Unix socket without a name of its own. Leave it out',
    }),
  },
} as const satisfies OptionGroup

const unixListenOptions = {
  name: 'listen',
  options: {
    fork,
    maxChildren,
    backlog,
    acceptTimeout,
    reuseaddr: flag('reuseaddr', {
      aliases: ['so-reuseaddr'],
      summary: 'does nothing for a Unix socket, in socat neither; `unlink-early` replaces what is left there',
    }),
  },
} as const satisfies OptionGroup

const dialGroups = [unixOptions, unixConnectOptions, sendProxyOptions, retryOptions] as const
const abstractListenGroups = [unixOptions, unixListenOptions, retryOptions] as const
const listenGroups = [...abstractListenGroups, namedOptions] as const

/** Unix stream sockets, with a path or with an abstract name. */
export const unixKinds: readonly EndpointKind[] = [
  dialKind('UNIX-CONNECT', 'path', { aliases: ['LOCAL'] }),
  dialKind('UNIX-CLIENT', 'path', { aliases: ['UNIX'], covers: ['UNIX-CONNECT'] }),
  listenKind('UNIX-LISTEN', 'path', ['UNIX-L']),
  dialKind('ABSTRACT-CONNECT', 'abstract', { aliases: [] }),
  dialKind('ABSTRACT-CLIENT', 'abstract', { aliases: ['ABSTRACT'], covers: ['ABSTRACT-CONNECT'] }),
  listenKind('ABSTRACT-LISTEN', 'abstract', ['ABSTRACT-L']),
]

function dialKind(
  keyword: string,
  is: SocketName['is'],
  more: Pick<EndpointKind, 'aliases' | 'covers'>,
): EndpointKind {
  const syntax = `${keyword}:${is === 'path' ? '<path>' : '<name>'}`
  return {
    keyword,
    syntax,
    summary:
      is === 'path' ? 'a connection to a Unix socket' : 'a connection to an abstract Unix socket (Linux)',
    groups: dialGroups,
    role: 'target',
    checkable: true,
    ...more,
    bind(address) {
      const name = readName(address, is, syntax)
      const options = readOptions(address, dialGroups)
      const scope = scopeOf(address, keyword, name)
      const target = { scope, name, connectTimeoutMs: options.connectTimeout }
      const dial = async (cx: OpenContext) => present(await dialUnix(target, cx), options.sendProxy, cx)
      const dialer = { dial: (cx: OpenContext) => retrying(options, cx, () => dial(cx)) }
      return { address, scope, dialer }
    },
  }
}

function listenKind(keyword: string, is: SocketName['is'], aliases: readonly string[]): EndpointKind {
  const syntax = `${keyword}:${is === 'path' ? '<path>' : '<name>'}`
  const groups = is === 'path' ? listenGroups : abstractListenGroups
  return {
    keyword,
    aliases,
    syntax,
    summary: is === 'path' ? 'a listener on a Unix socket' : 'a listener on an abstract Unix socket (Linux)',
    groups,
    role: 'listen',
    bind(address) {
      const name = readName(address, is, syntax)
      const options: OptionValues<typeof listenGroups> = readOptions(address, groups)
      const scope = scopeOf(address, keyword, name, exposure(options))
      const target = { scope, name, options }
      const acceptor = {
        listen: (cx: OpenContext) => retrying(options, cx, () => listenUnix(target, cx)),
      }
      return { address, scope, acceptor, admission: { maxChildren: options.maxChildren } }
    },
  }
}

/**
 * What the ceiling must know beside the path: whether it may take the place of another socket, whom it will belong
 * to, and whether others than its owner could connect, for which the kernel asks the right to write.
 */
function exposure(options: SocketFileOptions): Option[] {
  const mode = modeOf(options)
  const given = (name: string, value?: string): Option[] => [
    { name, ...(value !== undefined && { value }), at: 0 },
  ]
  return [
    ...(options.unlinkEarly ? given('unlink-early') : []),
    ...(options.user === undefined ? [] : given('user', options.user)),
    ...(options.group === undefined ? [] : given('group', options.group)),
    ...(mode === undefined || (mode & 0o022) === 0 ? [] : given('mode', mode.toString(8))),
  ]
}

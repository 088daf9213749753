import { release, version as systemVersion } from 'node:os'
import { kindOf, kinds } from '#relay/endpoints/index.ts'
import { version } from '#wire/version.ts'

/** The version of socat whose command line and behaviour are followed. */
export const spoken = '1.7.4.4'

/** Socat's features, and what of the table stands for each; `false`: not to be had. */
const features: readonly (readonly [name: string, has: () => boolean])[] = [
  ['STDIO', kind('STDIO')],
  ['FDNUM', kind('FD')],
  ['FILE', kind('OPEN')],
  ['CREAT', kind('CREATE')],
  ['GOPEN', kind('GOPEN')],
  ['TERMIOS', () => kinds.some(({ groups }) => groups.some(({ name }) => name === 'termios'))],
  ['PIPE', kind('PIPE')],
  ['UNIX', kind('UNIX-CONNECT')],
  ['ABSTRACT_UNIXSOCKET', kind('ABSTRACT-CONNECT')],
  ['IP4', kind('TCP4')],
  ['IP6', kind('TCP6')],
  ['RAWIP', kind('IP-SENDTO')],
  ['GENERICSOCKET', kind('SOCKET-CONNECT')],
  ['INTERFACE', kind('INTERFACE')],
  ['TCP', kind('TCP')],
  ['UDP', kind('UDP')],
  ['SCTP', kind('SCTP')],
  ['LISTEN', kind('TCP-LISTEN')],
  ['SOCKS4', kind('SOCKS4')],
  ['SOCKS4A', kind('SOCKS4A')],
  ['SOCKS5', kind('SOCKS5')],
  ['VSOCK', kind('VSOCK-CONNECT')],
  ['PROXY', kind('PROXY')],
  ['SYSTEM', kind('SYSTEM')],
  ['SHELL', kind('SHELL')],
  ['EXEC', kind('EXEC')],
  ['READLINE', kind('READLINE')],
  ['TUN', kind('TUN')],
  ['PTY', kind('PTY')],
  ['OPENSSL', kind('OPENSSL')],
  ['FIPS', () => false],
  ['LIBWRAP', () => false],
  ['SYCLS', () => false],
  ['FILAN', () => false],
  ['RETRY', () => kinds.some(({ groups }) => groups.some(({ name }) => name === 'retry'))],
]

function kind(keyword: string): () => boolean {
  return () => kindOf(keyword) !== undefined
}

/** The answer to `-V`. */
export function versionText(): string {
  const lines = [
    'fleetcat socat: socat for a fleet, on a leash',
    `fleetcat version ${version}, with the command line of socat version ${spoken}`,
    `   running on ${systemVersion()}, release ${release()}, machine ${process.arch}, Node ${process.versions.node}`,
    'features:',
    ...features.map(([name, has]) => `  ${has() ? `#define WITH_${name} 1` : `#undef WITH_${name}`}`),
  ]
  return `${lines.join('\n')}\n`
}

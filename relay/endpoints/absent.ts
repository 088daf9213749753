/**
 * Keywords that people know from socat, or from fleetcat's plans, and that this build has no kind for. They are
 * named so that a refusal says "not here" where it is not a typing mistake, and so that a ceiling may already
 * speak of them.
 */
export interface AbsentKind {
  readonly keyword: string
  readonly aliases: readonly string[]
  readonly syntax: string
  /** Options that only such kinds have, so that a misplaced one is explained. */
  readonly options?: readonly string[]
  /** What to write instead, where there is something. */
  readonly instead?: string
}

const absent = (keyword: string, syntax: string, more: Partial<AbsentKind> = {}): AbsentKind => ({
  keyword,
  aliases: [],
  syntax,
  ...more,
})

const streams =
  'Node has Unix sockets for streams only, not for datagrams. Use UNIX-CONNECT and UNIX-LISTEN, or UDP'

const newest = 'Node opens TCP, UDP and Unix sockets only. Use TCP, UDP or a Unix socket'

export const absentKinds: readonly AbsentKind[] = [
  absent('UNIX-RECV', 'UNIX-RECV:<path>', { instead: streams }),
  absent('UNIX-RECVFROM', 'UNIX-RECVFROM:<path>', { instead: streams }),
  absent('UNIX-SENDTO', 'UNIX-SENDTO:<path>', { aliases: ['UNIX-SEND'], instead: streams }),
  absent('ABSTRACT-RECV', 'ABSTRACT-RECV:<name>', { instead: streams }),
  absent('ABSTRACT-RECVFROM', 'ABSTRACT-RECVFROM:<name>', { instead: streams }),
  absent('ABSTRACT-SENDTO', 'ABSTRACT-SENDTO:<name>', { instead: streams }),
  ...['SCTP', 'SCTP4', 'SCTP6'].flatMap(name => [
    absent(name, `${name}:<host>:<port>`, { aliases: [`${name}-CONNECT`], instead: newest }),
    absent(`${name}-LISTEN`, `${name}-LISTEN:<port>`, { aliases: [`${name}-L`], instead: newest }),
  ]),
  absent('VSOCK-CONNECT', 'VSOCK-CONNECT:<cid>:<port>', { aliases: ['VSOCK'], instead: newest }),
  absent('VSOCK-LISTEN', 'VSOCK-LISTEN:<port>', { aliases: ['VSOCK-L'], instead: newest }),
  ...['IP', 'IP4', 'IP6'].flatMap(name =>
    ['RECV', 'RECVFROM', 'SENDTO', 'DATAGRAM'].map(verb =>
      absent(`${name}-${verb}`, `${name}-${verb}:<protocol>`, { instead: newest }),
    ),
  ),
  ...['CONNECT', 'LISTEN', 'RECV', 'RECVFROM', 'SENDTO', 'DATAGRAM'].map(verb =>
    absent(`SOCKET-${verb}`, `SOCKET-${verb}:<domain>`, { instead: newest }),
  ),
  absent('INTERFACE', 'INTERFACE:<interface>', { aliases: ['IF'], instead: newest }),
  absent('TUN', 'TUN:<address>', { instead: 'Forward the ports that are needed, one relay each' }),
  absent('OPENSSL-DTLS-CLIENT', 'OPENSSL-DTLS-CLIENT:<host>:<port>', {
    aliases: ['OPENSSL-DTLS-CONNECT', 'DTLS', 'DTLS-CLIENT', 'DTLS-CONNECT'],
    instead: 'Node has no DTLS',
  }),
  absent('OPENSSL-DTLS-SERVER', 'OPENSSL-DTLS-SERVER:<port>', {
    aliases: ['OPENSSL-DTLS-LISTEN', 'DTLS-SERVER', 'DTLS-LISTEN', 'DTLS-L'],
    instead: 'Node has no DTLS',
  }),
]

/** Why tests of socat's script do not pass, by what their names have in common. The first that matches holds. */
const reasons: readonly (readonly [names: RegExp, reason: string])[] = [
  [/^(RAWIP|IP[46](SCM|ENV)|IP[46]_|.*RAWIP)/, 'raw IP sockets: Node has none'],
  [
    /^UDP[46](SCM|ENV)_|SCM_|_ENV_IP_|^UDP\w*PKTINFO/,
    'what the kernel says beside a datagram (recvmsg): Node does not hand it over',
  ],
  [/^SOCKET_|^GENERIC|SOCKETRANGE/, 'SOCKET-… addresses, which take a raw sockaddr: not there'],
  [/TCPWRAP|LIBWRAP/, 'TCP wrappers: not read; `allow=` and `deny=` are there instead'],
  [/DTLS/, 'DTLS: Node has none'],
  [/^TUN|INTERFACE/, 'TUN and INTERFACE: not there'],
  [/VSOCK/, 'VSOCK: Node has none'],
  [/SCTP/, 'SCTP: Node has none'],
  [
    /UNIX\w*(DGRAM|RECV|SENDTO|SEQPACKET)|^(UNIX|ABSTRACT)(DGRAM|RECV|SEND)|^SOCKET_UNIX|DGRAM|SEQPACKET/,
    'Unix sockets for datagrams: Node has none',
  ],
  [/READLINE/, 'READLINE: ours is another'],
]

export function reasonFor(name: string): string {
  return reasons.find(([names]) => names.test(name))?.[1] ?? 'not looked into'
}

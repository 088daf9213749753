/** Why tests of socat's script do not pass, by their names. The first that matches holds. */
const reasons: readonly (readonly [names: RegExp, reason: string])[] = [
  [/TCPWRAP|TCP4WRAPPERS/, 'TCP wrappers are not read: write `allow=` and `deny=`'],
  [/^UDP[46](SCM|ENV)_/, 'what the kernel says beside a datagram: Node does not hand it over'],
  [/^(RAWIP|IP[46])/, 'Node has no raw IP sockets'],
  [/^SOCKET/, 'there are no SOCKET-… addresses, which take a socket address in bytes'],
  [/DTLS/, 'Node has no DTLS'],
  [/^TUN/, 'there is no TUN'],
  [/VSOCK/, 'Node has no VSOCK'],
  [
    /^(UNIX|ABSTRACT)_?(RECV|SENDTO|DGRAM|TODGRAM|BIND|LISTENENV|USER)|GOPENUNIX(DGRAM|SEQPACKET)|ABSTRACT_?(DGRAM|RECV|BIND)|ACCESSTIME/,
    'Node has Unix sockets for streams only, and they connect without a name of their own',
  ],
  [/^SETSOCKOPT|^IOCTL/, 'options by their numbers (`setsockopt=6:2:512`) are not there: write them by name'],
  [
    /^(O_|FS_)|NOATIME|BUG-UNISTDIO/,
    'flags and locks of files that Node has no call for, on descriptors that are open already',
  ],
  [/^OPENSSL(_COMPRESS|LISTENDSA)|METHOD/, 'TLS of old: compression, DSA, protocol versions below 1.2'],
  [/^OPENSSL_(ECDHE|CN_SERVER_SECURITY)/, '`verify=0` beside `cafile=` contradicts itself, and is refused'],
  [
    /^OPENSSLTCP6|^OPENSSL_(SERVER|CLIENT)_IP6/,
    'a certificate for the IP of a host has to name it as an IP, not as the common name `[::1]`',
  ],
  [/^ENV_OPENSSL_CLIENT/, 'of a server that has gone already its certificate is not known any more'],
  [/^UDP6LISTENENV/, 'at which of its addresses a UDP datagram came in: Node does not tell'],
  [/^PROXYAUTHFILE/, 'a file with a password that others can read is refused'],
  [/^TCP4RANGE_0BITS/, 'a network with bits beyond its prefix (127.0.0.1/0) is refused: write 0.0.0.0/0'],
  [/^FDLEAK/, 'a thousand clients one after the other take longer here than the watchdog waits'],
  [/^UDP_LOWPORT|_LOWPORT_CLIENT/, '`lowport` of a client: write `sourceport=`'],
  [
    /^(MULTIPLE_EOF|BLKSIZE|UNBALANCED|MISSING_INTEGER|INTEGER_GARBAGE)/,
    'it wants the words of a message of socat, and ours are others',
  ],
  [
    /^(MAINSETSID|EXITCODE)/,
    'socat itself would become a process of another kind (`setsid`, `nofork`), and Node cannot',
  ],
  [
    /^TCP[46](RANGE|SOURCEPORT|LOWPORT)/,
    'a client that is refused is reset, where socat closes and the client sees an end',
  ],
  [/^LISTEN_KEEPALIVE/, 'with `nofork` the program would have the socket itself'],
  [
    /^USE_IPV6_JOIN_GROUP/,
    'beside an address that only receives, the other is only written, and its end is not waited for',
  ],
  [
    /_HALFCLOSE$/,
    'a race of one second (`-T 1`) against the start of two processes, lost on a small machine',
  ],
  [/^FILE$/, 'GOPEN makes a file only to write to it, not to read from it'],
]

/** Why this test does not pass, as far as it is known. */
export function reasonFor(name: string): string {
  return reasons.find(([names]) => names.test(name))?.[1] ?? 'not looked into'
}

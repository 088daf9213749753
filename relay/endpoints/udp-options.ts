import { connectOptions, listenOptions } from '../option-groups.ts'
import { flag, integer, refused } from '../option-types.ts'
import type { OptionGroup } from '../options.ts'
import { ipKernelOptions, tosOption } from '../socket-options.ts'
import { interfaceName, localAddress, membership, sourceMembership } from './udp-option-types.ts'

/** What a UDP socket may be told, on both sides. */
export const udpOptions = {
  name: 'udp',
  options: {
    reuseaddr: flag('reuseaddr', {
      aliases: ['so-reuseaddr'],
      summary: 'bind a port that other sockets with this option have; the last one gets what is sent to it',
    }),
    reuseport: flag('reuseport', {
      aliases: ['so-reuseport'],
      summary: 'share the port with other sockets that set it too; each peer stays with one of them',
    }),
    broadcast: flag('broadcast', {
      aliases: ['so-broadcast'],
      summary: 'send to broadcast addresses',
    }),
    ...ipKernelOptions.options,
    ...tosOption.options,
    nullEof: flag('null-eof', { summary: 'take an empty datagram for the end of what the peer says' }),
    shutNull: flag('shut-null', { summary: 'send an empty datagram when the other side has ended' }),
    timestamp: refused('so-timestamp', {
      aliases: ['timestamp'],
      summary: 'log when packets came in',
      because: 'Node does not hand on what the kernel says beside a packet. Add `--timestamp` to the relay',
    }),
  },
} as const satisfies OptionGroup

/** What a UDP socket may be told about groups of receivers. */
export const multicastOptions = {
  name: 'multicast',
  options: {
    multicastTtl: integer('ip-multicast-ttl', {
      aliases: ['multicast-ttl', 'ipmulticastttl', 'multicastttl'],
      summary: 'how many routers multicast packets may pass; 1 if absent',
      min: 0,
      max: 255,
    }),
    multicastLoop: flag('ip-multicast-loop', {
      aliases: ['multicast-loop', 'ipmulticastloop', 'multicastloop'],
      summary: 'let this host hear its own multicast packets; so it is if absent',
    }),
    multicastIf: interfaceName('ip-multicast-if', {
      aliases: ['multicast-if', 'ipmulticastif', 'multicastif'],
      summary: 'the interface that multicast packets leave by: its name or its IP address',
    }),
    membership: membership('ip-add-membership', {
      aliases: ['add-membership', 'ip-membership', 'membership'],
      summary: 'receive what is sent to this group on this interface: its name or its IPv4 address',
    }),
    membership6: membership('ipv6-join-group', {
      aliases: ['ipv6-add-membership', 'join-group'],
      summary: 'receive what is sent to this IPv6 group on this interface, by name',
    }),
    sourceMembership: sourceMembership('ip-add-source-membership', {
      aliases: ['add-source-membership', 'source-membership'],
      summary: 'receive what one source sends to this group on this interface',
    }),
  },
} as const satisfies OptionGroup

const { connectTimeout, pf: targetPf } = connectOptions.options
const { fork, maxChildren, acceptTimeout, range, allow, deny, ipv6only, tcpwrap, pf, sourceport, lowport } =
  listenOptions.options

/** What a UDP socket that begins the conversation may be told. */
export const udpTargetOptions = {
  name: 'udp-target',
  options: {
    bind: localAddress('bind', {
      summary: 'the local address and port to send from; either may be left out',
    }),
    sourceport: connectOptions.options.sourceport,
    connectTimeout,
    pf: targetPf,
    lowport: connectOptions.options.lowport,
  },
} as const satisfies OptionGroup

/** Who is heard by a socket that talks to more than one peer. */
export const udpHearingOptions = {
  name: 'udp-hearing',
  options: {
    range,
    allow,
    deny,
    tcpwrap,
    ignorePeerport: flag('udp-ignore-peerport', {
      summary: 'with `sourceport`: hear any port, not just the one that is sent to',
    }),
  },
} as const satisfies OptionGroup

/** What a UDP socket that waits for others may be told, beyond its port. */
export const udpBindOptions = {
  name: 'udp-bind',
  options: {
    bind: listenOptions.options.bind,
    range,
    allow,
    deny,
    ipv6only,
    pf,
    tcpwrap,
    sourceport,
    lowport,
  },
} as const satisfies OptionGroup

/** How the conversations of a UDP port are kept apart, and how many there may be. */
export const udpFlowOptions = {
  name: 'udp-flow',
  options: {
    fork,
    maxChildren,
    acceptTimeout,
    maxFlows: integer('max-flows', {
      summary:
        'conversations that are remembered; then the one that was silent longest gives way. 4096 if absent',
      min: 1,
      max: 1_000_000,
    }),
    amplification: integer('amplification', {
      summary:
        'how many times the bytes that came from it a peer is sent before it has answered. 3 if absent',
      min: 1,
      max: 65_507,
    }),
    backlog: refused('backlog', {
      summary: 'connections that the kernel keeps waiting',
      because:
        'the kernel keeps no connections waiting for UDP. Write `rcvbuf=` for the datagrams that it keeps',
    }),
  },
} as const satisfies OptionGroup

/** For a port that merges what all senders say. */
export const udpMergeOptions = {
  name: 'udp-merge',
  options: {
    fork: refused('fork', {
      summary: 'serve many conversations',
      because:
        'UDP-RECV makes one conversation of all senders. Write UDP-LISTEN for one a sender, or UDP-RECVFROM for one a datagram',
    }),
  },
} as const satisfies OptionGroup

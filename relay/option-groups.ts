import {
  account,
  always,
  duration,
  family,
  fileMode,
  flag,
  host,
  integer,
  networks,
  refused,
} from './option-types.ts'
import type { OptionGroup } from './options.ts'
import { ipKernelOptions, listenKernelOptions, tcpKernelOptions } from './socket-options.ts'

/** What a TCP connection may be told, on both sides. Times are in milliseconds. */
export const socketOptions = {
  name: 'socket',
  options: {
    keepalive: flag('keepalive', { aliases: ['so-keepalive'], summary: 'probe a silent peer' }),
    keepidle: duration('keepidle', {
      aliases: ['tcp-keepidle'],
      summary: 'silence before the first probe',
      min: 1_000,
      max: 32_767_000,
      wholeSeconds: true,
    }),
    keepintvl: duration('keepintvl', {
      aliases: ['tcp-keepintvl'],
      summary: 'time between probes',
      min: 1_000,
      max: 32_767_000,
      wholeSeconds: true,
    }),
    keepcnt: integer('keepcnt', {
      aliases: ['tcp-keepcnt'],
      summary: 'probes without an answer before the peer counts as gone',
      min: 1,
      max: 127,
    }),
    nodelay: flag('nodelay', { aliases: ['tcp-nodelay'], summary: 'send small writes at once' }),
    tos: integer('tos', {
      aliases: ['ip-tos'],
      summary: 'type of service of outgoing packets',
      min: 0,
      max: 255,
    }),
    reuseaddr: always('reuseaddr', {
      aliases: ['so-reuseaddr'],
      summary: 'bind while old connections of the port linger; always on',
      because: 'Node always sets SO_REUSEADDR on TCP sockets, and it cannot be switched off',
    }),
    ...ipKernelOptions.options,
    ...tcpKernelOptions.options,
  },
} as const satisfies OptionGroup

/** What a listener may be told, beyond its port. */
export const listenOptions = {
  name: 'listen',
  options: {
    bind: host('bind', { summary: 'the local address to listen on; all of them if absent' }),
    fork: flag('fork', { summary: 'serve many connections; without it one, and done' }),
    maxChildren: integer('max-children', {
      aliases: ['children', 'maxchildren'],
      summary: 'connections at a time; more wait in the backlog',
      min: 1,
      max: 1_000_000,
    }),
    backlog: integer('backlog', {
      summary: 'connections that the kernel keeps waiting',
      min: 1,
      max: 65_535,
    }),
    acceptTimeout: duration('accept-timeout', {
      aliases: ['listen-timeout'],
      summary: 'give up when nobody has connected by then',
      min: 1,
    }),
    range: networks('range', { summary: 'serve clients of these networks only' }),
    allow: networks('allow', { summary: 'serve clients of these networks only; with `range`, of either' }),
    deny: networks('deny', { summary: 'turn away clients of these networks, whatever else is allowed' }),
    reuseport: flag('reuseport', {
      aliases: ['so-reuseport'],
      summary: 'share the port with other listeners that set it too',
    }),
    ipv6only: flag('ipv6only', {
      aliases: ['ipv6-v6only', 'v6only'],
      summary: 'take no IPv4 connections on an IPv6 listener',
    }),
    pf: family('pf', { aliases: ['protocol-family'], summary: 'the IP version to listen on' }),
    tcpwrap: refused('tcpwrap', {
      aliases: [
        'tcpwrappers',
        'libwrap',
        'hosts-allow',
        'hosts-deny',
        'allow-table',
        'deny-table',
        'tcpwrap-etc',
      ],
      summary: 'tcp wrappers',
      because: 'tcp wrappers are not read. Write the networks as `allow=` and `deny=`',
    }),
    sourceport: integer('sourceport', {
      aliases: ['sp'],
      summary: 'serve clients only that come from this port',
      min: 1,
      max: 65_535,
    }),
    lowport: flag('lowport', { summary: 'serve clients only that come from a port below 1024' }),
    ...listenKernelOptions.options,
  },
} as const satisfies OptionGroup

/** What an outgoing connection may be told. */
export const connectOptions = {
  name: 'connect',
  options: {
    connectTimeout: duration('connect-timeout', { summary: 'give up connecting after this long', min: 1 }),
    fork: flag('fork', {
      summary: 'as a first address: connect again and again, at each `interval`, and serve each connection',
    }),
    bind: host('bind', { summary: 'the local address to connect from' }),
    sourceport: integer('sourceport', {
      aliases: ['sp'],
      summary: 'the local port to connect from',
      min: 1,
      max: 65_535,
    }),
    pf: family('pf', { aliases: ['protocol-family'], summary: 'the IP version to resolve the name to' }),
    lowport: refused('lowport', {
      summary: 'connect from a port below 1024',
      because: 'fleetcat picks no low port by itself. Write `sourceport=` with the port',
    }),
  },
} as const satisfies OptionGroup

/** What a new entry of the file system may be told: whom it belongs to, and how it comes and goes. */
export const namedOptions = {
  name: 'named',
  options: {
    mode: fileMode('mode', {
      aliases: ['perm', 'perm-early'],
      summary: 'its permissions, from the first moment on; `mode` prevails over `umask`',
    }),
    umask: fileMode('umask', { summary: 'permissions that it shall not have' }),
    user: account('user', {
      aliases: ['owner', 'uid', 'user-early', 'uid-early'],
      summary: 'the user that it belongs to',
    }),
    group: account('group', {
      aliases: ['gid', 'group-early', 'gid-early'],
      summary: 'the group that it belongs to',
    }),
    unlinkEarly: flag('unlink-early', {
      aliases: ['unlink'],
      summary: 'replace what an earlier one left there',
    }),
    unlinkClose: flag('unlink-close', { summary: 'remove it on closing; on unless `unlink-close=0`' }),
  },
} as const satisfies OptionGroup

/** How often an opening is tried before it counts as failed. */
export const retryOptions = {
  name: 'retry',
  options: {
    retry: integer('retry', { summary: 'further tries after the first', min: 0, max: 1_000_000 }),
    interval: duration('interval', { summary: 'time between tries; 1 s if absent', min: 1 }),
    forever: flag('forever', { summary: 'try until it works' }),
  },
} as const satisfies OptionGroup

/** Socat's options that would change who the process is. */
export const privilegeOptions = {
  name: 'privilege',
  options: Object.fromEntries(
    [
      ['su', 'substuser'],
      ['su-d', 'substuser-delayed', 'su-delayed'],
      ['setuid'],
      ['setgid'],
      ['setuid-early'],
      ['setgid-early'],
      ['chroot'],
      ['chroot-early'],
    ].map(([name = '', ...aliases]) => [
      name,
      refused(name, {
        aliases,
        summary: 'change the user of the process',
        because: 'relays share the process of their agent. Start the agent as the user that they shall have',
      }),
    ]),
  ),
} as const satisfies OptionGroup

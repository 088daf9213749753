import { duration, flag, type Help, integer, refused, valued } from './option-types.ts'
import type { OptionGroup, OptionSpec } from './options.ts'

/** Socket options that need a call of the kernel's own and are the same for TCP and UDP. */
export const ipKernelOptions = {
  name: 'ip',
  options: {
    ttl: integer('ttl', {
      aliases: ['ip-ttl', 'ipttl', 'unicast-hops', 'ipv6-unicast-hops'],
      summary: 'time to live of outgoing packets',
      min: 1,
      max: 255,
    }),
    sndbuf: integer('sndbuf', {
      aliases: ['so-sndbuf', 'sndbuf-late', 'so-sndbuf-late'],
      summary: 'send buffer in bytes; the kernel takes it up to its wmem_max',
      min: 1,
      max: 1_073_741_823,
    }),
    rcvbuf: integer('rcvbuf', {
      aliases: ['so-rcvbuf', 'rcvbuf-late', 'so-rcvbuf-late'],
      summary: 'receive buffer in bytes; the kernel takes it up to its rmem_max',
      min: 1,
      max: 1_073_741_823,
    }),
    interface: deviceName('interface', {
      aliases: ['if', 'so-bindtodevice', 'bindtodevice'],
      summary: 'use this network interface and no other',
    }),
    mark: integer('so-mark', {
      aliases: ['mark'],
      summary: 'mark packets for the firewall and for routing; needs CAP_NET_ADMIN',
      min: 0,
      max: 0xffff_ffff,
    }),
    priority: integer('so-priority', {
      aliases: ['priority'],
      summary: 'queueing priority of outgoing packets; above 6 it needs CAP_NET_ADMIN',
      min: 0,
      max: 0x7fff_ffff,
    }),
    mtuDiscover: integer('mtudiscover', {
      aliases: ['ip-mtu-discover', 'mtu-discover', 'ipmtudiscover'],
      summary: 'path MTU discovery: 0 never, 1 as the route says, 2 always, 3 without heeding it',
      min: 0,
      max: 5,
    }),
    freebind: flag('ip-freebind', {
      aliases: ['freebind', 'ipfreebind'],
      summary: 'let `bind` name an address that this host does not have yet',
    }),
    transparent: flag('ip-transparent', {
      aliases: ['transparent'],
      summary: 'let `bind` name an address of others, for transparent proxies; needs CAP_NET_ADMIN',
    }),
  },
} as const satisfies OptionGroup

/** The same of TCP alone. */
export const tcpKernelOptions = {
  name: 'tcp',
  options: {
    mss: integer('mss', {
      aliases: ['maxseg', 'tcp-maxseg', 'mss-late', 'maxseg-late', 'tcp-maxseg-late'],
      summary: 'maximum segment size',
      min: 88,
      max: 32_767,
    }),
    windowClamp: integer('tcp-window-clamp', {
      aliases: ['window-clamp'],
      summary: 'the largest window that the peer is offered, in bytes',
      min: 1,
      max: 0x7fff_ffff,
    }),
    userTimeout: duration('tcp-user-timeout', {
      aliases: ['user-timeout'],
      summary: 'how long what was sent may go without acknowledgement before the peer counts as gone',
      min: 1,
      max: 0x7fff_ffff,
    }),
    syncnt: integer('syncnt', { aliases: ['tcp-syncnt'], summary: 'SYN retries', min: 1, max: 127 }),
    linger2: integer('linger2', {
      aliases: ['tcp-linger2'],
      summary: 'seconds in FIN_WAIT_2',
      min: 1,
      max: 120,
    }),
    cork: flag('cork', {
      aliases: ['tcp-cork'],
      summary: 'send full segments only, or after 0.2 s what there is; `nodelay` does not help then',
    }),
    linger: reset('linger', {
      aliases: ['so-linger'],
      summary: 'with 0: close with a reset, and drop what is not sent by then',
    }),
    quickack: refused('quickack', {
      aliases: ['tcp-quickack'],
      summary: 'acknowledge at once',
      because: 'the kernel forgets it after a few segments. Leave it out',
    }),
  },
} as const satisfies OptionGroup

/** The same of TCP listeners alone. */
export const listenKernelOptions = {
  name: 'tcp-listen',
  options: {
    deferAccept: duration('defer-accept', {
      aliases: ['tcp-defer-accept'],
      summary: 'take a connection when its first data has come, or after this long, as the kernel rounds it',
      min: 1_000,
      max: 3_600_000,
    }),
  },
} as const satisfies OptionGroup

/** For sockets that Node has no call for; for those of TCP it has one. */
export const tosOption = {
  name: 'tos',
  options: {
    trafficClass: integer('tos', {
      aliases: ['ip-tos'],
      summary: 'type of service of outgoing packets',
      min: 0,
      max: 255,
    }),
  },
} as const satisfies OptionGroup

function deviceName(name: string, help: Help): OptionSpec<string> {
  return valued<string>(name, help, '<interface>', 'eth0', text =>
    /^[^\s/:]{1,15}$/.test(text)
      ? { value: text }
      : { problem: 'it names no interface', write: `e.g. \`${name}=eth0\`` },
  )
}

/** Any longer time would stop all relays of the process while one socket closes. */
function reset(name: string, help: Help): OptionSpec<number> {
  return valued<number>(name, help, '0', '0', text => {
    if (text === '0') return { value: 0 }
    const problem = 'on closing the kernel would hold up the whole process for so long'
    const write = `\`${name}=0\` to close with a reset; or leave it out, for what was written is sent before a graceful close`
    return { problem, write }
  })
}

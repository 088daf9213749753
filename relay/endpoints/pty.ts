import { resolve } from 'node:path'
import { type Address, formatAddress, type Option } from '../address.ts'
import type { EndpointKind } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { listenOptions, namedOptions } from '../option-groups.ts'
import { always, duration, flag, refused, valued } from '../option-types.ts'
import { type OptionGroup, type OptionValues, readOptions } from '../options.ts'
import { termiosOptions } from '../terminal/termios-options.ts'

const { mode, user, group, unlinkEarly, unlinkClose } = namedOptions.options
const { fork, maxChildren } = listenOptions.options

const fixedWay = 'pseudo-terminals are always opened through /dev/ptmx. Leave it out'

const ptyOptions = {
  name: 'pty',
  options: {
    link: valued<string>(
      'link',
      {
        aliases: ['symbolic-link'],
        summary: 'a symbolic link to the terminal, for it has another name each time',
      },
      '<path>',
      '/dev/fleetcat/modem',
      value => ({ value }),
    ),
    waitSlave: flag('wait-slave', {
      aliases: ['waitslave', 'pty-wait-slave'],
      summary: 'begin when a program has opened the terminal; always so with `fork`',
    }),
    interval: duration('pty-interval', {
      aliases: ['pty-intervall'],
      summary: 'how often to look whether one has; 0.1 s if absent',
      min: 1,
    }),
    sitoutEio: duration('sitout-eio', {
      summary: 'how long to wait, when all programs have closed the terminal, for one to open it again',
    }),
    mode: { ...mode, summary: 'the permissions of the terminal' },
    user: { ...user, summary: 'the user that the terminal belongs to' },
    group: { ...group, summary: 'the group that the terminal belongs to' },
    unlinkEarly: { ...unlinkEarly, summary: 'replace whatever symbolic link is at `link`' },
    unlinkClose: { ...unlinkClose, summary: 'remove the link on closing; on unless `unlink-close=0`' },
    fork: {
      ...fork,
      summary: 'a conversation for each opening of the link; without it one terminal, and done',
    },
    maxChildren,
    openpty: always('openpty', {
      summary: 'how the terminal is opened; always so, whichever is written',
      because: fixedWay,
    }),
    ptmx: always('ptmx', {
      summary: 'how the terminal is opened; always so, whichever is written',
      because: fixedWay,
    }),
    umask: refused('umask', {
      summary: 'permissions that it shall not have',
      because: 'the kernel makes terminals without regard to a umask. Write `mode=`',
    }),
  },
} as const satisfies OptionGroup

const groups = [ptyOptions, termiosOptions] as const

export type PtyOptions = OptionValues<typeof groups>

/** A pseudo-terminal that programs open like a serial line. */
export const ptyKinds: readonly EndpointKind[] = [
  {
    keyword: 'PTY',
    aliases: [],
    syntax: 'PTY',
    summary: 'a pseudo-terminal, for programs that want a serial line or a terminal (Linux)',
    groups,
    role: 'both',
    bind(address) {
      const options = readOptions(address, groups)
      const refuse = (why: string, fix: string) =>
        new RelayError('usage', { what: `address \`${address.text}\``, why, fix })
      if (address.args.length > 0) throw refuse('it has an argument', 'Write `PTY`, and the path as `link=`')
      if (options.link !== undefined && address.host !== undefined && !options.link.startsWith('/')) {
        throw refuse(
          'a path on another host has no directory to start from',
          'Write the whole path, from `/`',
        )
      }
      if (options.fork && options.link === undefined) {
        const why = 'with `fork` each conversation has a terminal of its own, which nobody could find'
        throw refuse(why, 'Write `link=` too')
      }
      if (options.fork && options.waitSlave === false) {
        throw refuse(
          'with `fork` a conversation begins when a program opens the terminal',
          'Leave `wait-slave=0` out',
        )
      }
      const link = options.link === undefined ? undefined : resolve(options.link)
      const target = { scope: scopeOf(address, options, link), link, options }
      return {
        address,
        scope: target.scope,
        dialer: { dial: async cx => (await import('./pty-listen.ts')).dialPty(target, cx) },
        acceptor: { listen: async cx => (await import('./pty-listen.ts')).listenPty(target, cx) },
        admission: { maxChildren: options.maxChildren },
      }
    },
  },
]

/**
 * What the ceiling must know: where the link is, whether it may take the place of another, whom the terminal will
 * belong to, and whether others than its owner could open it.
 */
function scopeOf(address: Address, options: PtyOptions, link: string | undefined): Address {
  const { unlinkEarly, user, group, mode } = options
  const shown: Record<string, string | undefined | false> = {
    link: link ?? false,
    'unlink-early': unlinkEarly ? undefined : false,
    user: user ?? false,
    group: group ?? false,
    mode: mode === undefined || (mode & 0o077) === 0 ? false : mode.toString(8),
  }
  const scoped = Object.entries(shown).flatMap(([name, value]): Option[] =>
    value === false ? [] : [{ name, ...(value !== undefined && { value }), at: 0 }],
  )
  const scope = { keyword: 'PTY', args: [], options: scoped }
  const at = address.host === undefined ? {} : { host: address.host }
  return { ...scope, ...at, text: formatAddress(scope) }
}

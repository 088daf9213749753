import { constants } from 'node:fs'
import type { Option } from '../address.ts'
import { namedOptions } from '../option-groups.ts'
import { always, fileMode, flag, type Help, refused, valued } from '../option-types.ts'
import type { OptionGroup, OptionSpec, OptionValues } from '../options.ts'

/** What the call that opens a file may be told. */
export const openOptions = {
  name: 'open',
  options: {
    rdonly: flag('rdonly', { aliases: ['o-rdonly'], summary: 'only read' }),
    wronly: flag('wronly', { aliases: ['o-wronly'], summary: 'only write' }),
    rdwr: flag('rdwr', { aliases: ['o-rdwr'], summary: 'read and write; so unless the relay goes one way' }),
    creat: flag('creat', {
      aliases: ['create', 'o-creat', 'o-create'],
      summary: 'make it if it is not there',
    }),
    excl: flag('excl', { aliases: ['o-excl'], summary: 'with `creat`: fail if it is there already' }),
    trunc: flag('trunc', { aliases: ['o-trunc'], summary: 'remove what is in it' }),
    nofollow: flag('nofollow', {
      aliases: ['o-nofollow'],
      summary: 'fail if the last part of the path is a symbolic link',
    }),
    noatime: flag('noatime', {
      aliases: ['o-noatime'],
      summary: 'leave the time of the last access as it is; for its owner only',
    }),
    nonblock: always('nonblock', {
      aliases: ['o-nonblock', 'o-ndelay'],
      summary: 'wait for nobody when opening a pipe or a device; always on',
      because:
        'a call that waits would stop other relays. What is opened waits for its other end all the same',
    }),
    noctty: always('noctty', {
      aliases: ['o-noctty'],
      summary: 'take no terminal as the one that controls the process; always on',
      because: 'an agent has no controlling terminal, and must not get one',
    }),
    largefile: always('largefile', {
      aliases: ['o-largefile'],
      summary: 'files of more than 2 GiB; always on',
      because: 'Node opens no file without it',
    }),
    directio: refused('direct', {
      aliases: ['o-direct', 'directio'],
      summary: 'past the page cache',
      because: 'it takes buffers whose place in memory Node does not let one choose. Leave it out',
    }),
    directory: refused('directory', {
      aliases: ['o-directory'],
      summary: 'open a directory',
      because: 'a directory carries no bytes',
    }),
    async: refused('async', {
      aliases: ['o-async'],
      summary: 'signals when there is something to read',
      because: 'Node takes no such signals. Leave it out: nothing waits for a file anyway',
    }),
  },
} as const satisfies OptionGroup

/** What an open file may be told. */
export const fileOptions = {
  name: 'file',
  options: {
    append: flag('append', { aliases: ['o-append'], summary: 'write at the end, wherever that is by then' }),
    sync: flag('sync', {
      aliases: ['o-sync', 'rsync', 'o-rsync'],
      summary: 'each write waits until the disk has it, and what the file system knows of it',
    }),
    dsync: flag('dsync', { aliases: ['o-dsync'], summary: 'each write waits until the disk has it' }),
    ignoreeof: flag('ignoreeof', {
      aliases: ['ignoreof'],
      summary: 'at its end wait for more, as `tail -f` does; it ends when the other side has ended',
    }),
    flockEx: flag('flock-ex', {
      aliases: ['flock', 'lock'],
      summary: 'wait until nobody else has the file locked, and lock it (flock)',
    }),
    flockExNb: flag('flock-ex-nb', { aliases: ['flock-nb'], summary: 'lock it, or fail' }),
    flockSh: flag('flock-sh', { summary: 'as `flock-ex`, but share it with others who read' }),
    flockShNb: flag('flock-sh-nb', { summary: 'share the lock, or fail' }),
    setlk: refused('setlk', {
      aliases: ['setlkw', 'setlk-rd', 'setlkw-rd', 'setlk-wr', 'setlkw-wr'],
      summary: "a lock of the process's (fcntl)",
      because: 'such a lock is one for all relays of a process. Write `flock-ex` or `flock-sh`',
    }),
  },
} as const satisfies OptionGroup

/** What only files that one can move about in may be told. */
export const regularOptions = {
  name: 'regular',
  options: {
    seek: offset('seek', {
      aliases: ['seek-set', 'lseek', 'lseek-set', 'lseek32', 'lseek32-set', 'lseek64', 'lseek64-set'],
      summary: 'start at this byte',
    }),
    seekCur: offset('seek-cur', {
      aliases: ['lseek-cur', 'lseek32-cur', 'lseek64-cur'],
      summary: 'start this many bytes further on',
    }),
    seekEnd: offset('seek-end', {
      aliases: ['lseek-end', 'lseek32-end', 'lseek64-end'],
      summary: 'start this many bytes beyond the end; a negative number is before it',
    }),
    ftruncate: offset('ftruncate', {
      aliases: ['truncate', 'ftruncate32', 'ftruncate64'],
      summary: 'make it this long before it is used',
    }),
    attributes: refused('fs-attributes', {
      aliases: ['append', 'compr', 'dirsync', 'immutable', 'journal-data', 'noatime', 'nodump', 'notail']
        .map(name => `fs-${name}`)
        .concat(
          'fs-secrm',
          'fs-sync',
          'fs-topdir',
          'fs-unrm',
          'secrm',
          'unrm',
          'compr',
          'immutable',
          'nodump',
        ),
      summary: 'attributes of the file system',
      because: 'Node has no way to set them. Set them once, with `chattr`',
    }),
  },
} as const satisfies OptionGroup

const { user, group, ...named } = namedOptions.options

/** What the entry in its directory may be told. */
export const entryOptions = {
  name: 'entry',
  options: {
    ...named,
    user: { ...user, aliases: [...user.aliases, 'user-late', 'uid-late', 'uid-l'] },
    group: { ...group, aliases: [...group.aliases, 'group-late', 'gid-late', 'gid-l'] },
    permLate: fileMode('perm-late', {
      aliases: ['mode-late', 'fchmod'],
      summary: 'its permissions from now on, whoever made it',
    }),
    unlinkLate: flag('unlink-late', { summary: 'remove its name once it is open' }),
    unlinkClose: flag('unlink-close', { summary: 'remove it on closing' }),
  },
} as const satisfies OptionGroup

export type FileOptions = OptionValues<
  readonly [typeof openOptions, typeof fileOptions, typeof regularOptions, typeof entryOptions]
>

/** A number of bytes. */
function offset(name: string, help: Help): OptionSpec<number> {
  return valued<number>(name, help, '<bytes>', '1024', text => {
    const value = /^-?(\d{1,16}|0x[0-9a-f]{1,13})$/i.test(text) ? Number(text) : Number.NaN
    if (Number.isSafeInteger(value)) return { value }
    return { problem: 'it is no number of bytes', write: `e.g. \`${name}=1024\`` }
  })
}

/** The options that a line of a ceiling can rule on; the others change nothing that its owner would ask about. */
export const ruledOptions = [
  'rdonly',
  'wronly',
  'append',
  'creat',
  'unlink-early',
  'unlink-late',
  'unlink-close',
  'user',
  'group',
  'mode',
  'perm-late',
] as const

/**
 * What the ceiling must know beside the path: whether the file is read, written, only added to, made or removed, whom it
 * will belong to, and whether its mode lets others than its owner write or run it.
 */
export function exposure(options: FileOptions): Option[] {
  const { rdonly, append, trunc, ftruncate, permLate } = options
  const mode = creationMode(options)
  const given: readonly (readonly [name: string, is: boolean | string | undefined])[] = [
    ['rdonly', rdonly],
    ['wronly', options.wronly],
    ['append', append && !rdonly && !trunc && ftruncate === undefined],
    ['creat', options.creat],
    ['unlink-early', options.unlinkEarly],
    ['unlink-late', options.unlinkLate],
    ['unlink-close', options.unlinkClose],
    ['user', options.user],
    ['group', options.group],
    ['mode', options.creat && mode !== undefined && (mode & ~0o644) !== 0 && mode.toString(8)],
    ['perm-late', permLate?.toString(8)],
  ]
  return given.flatMap(([name, is]) =>
    is === undefined || is === false ? [] : [{ name, at: 0, ...(is !== true && { value: is }) }],
  )
}

/** The permissions that the address asks for; undefined where it leaves them to the umask of the process. */
export function creationMode({ mode, umask }: Pick<FileOptions, 'mode' | 'umask'>): number | undefined {
  return mode ?? (umask === undefined ? undefined : 0o666 & ~umask)
}

/** The flags for opening, beside what is read and written. */
export function openFlags({ append, sync, dsync, noatime }: FileOptions): number {
  return (
    (append ? constants.O_APPEND : 0) |
    (sync ? constants.O_SYNC : 0) |
    (dsync ? constants.O_DSYNC : 0) |
    (noatime ? constants.O_NOATIME : 0)
  )
}

import { account, duration, fileMode, flag, integer, refused, valued } from '../option-types.ts'
import type { OptionGroup } from '../options.ts'
import { termiosOptions } from '../terminal/termios-options.ts'
import { readVariables, type Variables } from './environment.ts'

const directory = /^[^\0]{1,4095}$/

/** What a program may be told, as socat has it and beyond. */
export const programOptions = {
  name: 'program',
  options: {
    path: valued<string>(
      'path',
      { summary: 'where programs are looked for; the PATH of the program too' },
      '<path>',
      '/usr/bin:/bin',
      text => ({ value: text }),
    ),
    login: flag('login', {
      aliases: ['dash'],
      summary: 'a dash in front of its own name, as login shells have it',
    }),
    user: account('user', {
      aliases: [
        'su',
        'substuser',
        'su-d',
        'substuser-delayed',
        'su-delayed',
        'setuid',
        'setuid-early',
        'uid',
      ],
      summary: 'the user that it runs as, with the groups of that user',
    }),
    group: account('group', {
      aliases: ['setgid', 'setgid-early', 'gid'],
      summary: 'the group that it runs as, in place of the first of its user',
    }),
    chdir: valued<string>(
      'chdir',
      { aliases: ['cd'], summary: 'the directory that it starts in' },
      '<directory>',
      '/srv',
      text => (directory.test(text) ? { value: text } : { problem: 'it is no directory', write: 'a path' }),
    ),
    umask: fileMode('umask', { summary: 'permissions that files which it makes shall not have' }),
    env: valued<Variables>(
      'env',
      { summary: 'variables that it gets: those of this process by name, others with a value' },
      '<name>[=<value>][;…]',
      'LANG;TZ=UTC',
      readVariables,
    ),
    shell: valued<string>(
      'shell',
      { summary: 'the shell, in place of $SHELL' },
      '<file>',
      '/bin/bash',
      text =>
        text.startsWith('/') ? { value: text } : { problem: 'it is no whole path', write: 'a path from `/`' },
    ),
    stderr: flag('stderr', { summary: 'its standard error goes where its output goes' }),
    fdin: integer('fdin', { summary: 'the descriptor that it reads from; 0 if absent', min: 0, max: 1_023 }),
    fdout: integer('fdout', { summary: 'the descriptor that it writes to; 1 if absent', min: 0, max: 1_023 }),
    pipes: flag('pipes', { summary: 'two pipes in place of one socket for both directions' }),
    pty: flag('pty', { aliases: ['openpty', 'ptmx'], summary: 'a pseudo-terminal in place of a socket' }),
    ctty: flag('ctty', {
      aliases: ['tiocsctty', 'controlling-tty'],
      summary: 'that terminal is the one which controls it; needs `pty`',
    }),
    setsid: flag('setsid', {
      aliases: ['sid'],
      summary: 'in a session of its own; always so for confined programs',
    }),
    sighup: flag('sighup', { summary: 'pass SIGHUP on to it; for relays that are run by hand' }),
    sigint: flag('sigint', { summary: 'pass SIGINT on to it; for relays that are run by hand' }),
    sigquit: flag('sigquit', { summary: 'pass SIGQUIT on to it; for relays that are run by hand' }),
    endClose: flag('end-close', {
      aliases: ['close'],
      summary: 'leave it alive at the end; for relays that are run by hand',
    }),
    limitCpu: duration('limit-cpu', {
      summary: 'the computing time that it may use',
      min: 1_000,
      wholeSeconds: true,
    }),
    limitMemory: size('limit-as', 'the memory that it may map'),
    limitFileSize: size('limit-fsize', 'the size of files that it may write'),
    limitCore: size('limit-core', 'the size of a core dump'),
    limitFiles: integer('limit-nofile', {
      summary: 'the descriptors that it may have open',
      min: 3,
      max: 1_048_576,
    }),
    limitProcesses: integer('limit-nproc', {
      summary: 'the processes that its user may have',
      min: 1,
      max: 4_194_304,
    }),
    nofork: refused('nofork', {
      summary: 'become the program instead of starting it',
      because: 'this process has other relays to serve. Leave it out',
    }),
    chroot: refused('chroot', {
      aliases: ['chroot-early'],
      summary: 'another root directory',
      because:
        'what else it would need there nobody can tell. Start it through a container, or write `user=` and `chdir=`',
    }),
    setpgid: refused('setpgid', {
      aliases: ['pgid'],
      summary: 'the process group',
      because: 'a program is ended with all that it has started, by its own group too. Write `setsid`',
    }),
  },
} as const satisfies OptionGroup

/** Bytes, with the letters that shells and `ulimit` users know. */
function size(name: string, summary: string) {
  return valued<number>(name, { summary }, '<bytes>', '512M', text => {
    const [, digits, unit = ''] = /^(\d{1,12})([kmg]?)(?:i?b)?$/i.exec(text) ?? []
    if (digits === undefined) return { problem: 'it is no number of bytes', write: `e.g. \`${name}=512M\`` }
    return { value: Number(digits) * 1_024 ** ' kmg'.indexOf(unit.toLowerCase() || ' ') }
  })
}

export const programGroups = [programOptions, termiosOptions] as const

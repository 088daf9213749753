import { type Address, formatAddress } from '../address.ts'
import type { Channel, EndpointKind, OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import type { Uses } from '../files/descriptor.ts'
import { fileChannel } from '../files/file-channel.ts'
import {
  entryOptions,
  exposure,
  type FileOptions,
  fileOptions,
  openOptions,
  regularOptions,
  ruledOptions,
} from '../files/file-options.ts'
import { type FileRequest, openFile } from '../files/open-file.ts'
import { readPath } from '../files/path.ts'
import { checkWays, narrowed, usesOf } from '../files/uses.ts'
import { always } from '../option-types.ts'
import { type OptionGroup, type OptionValues, readOptions } from '../options.ts'
import type { TermiosOptions } from '../terminal/apply-termios.ts'
import { termiosOptions } from '../terminal/termios-options.ts'
import { wrongAddress } from './ip-parts.ts'
import { dialUnix } from './unix-dial.ts'
import { scopeOf as socketScope } from './unix-name.ts'

const created = 'CREATE is for writing a new file, or an old one anew. Write OPEN for anything else'

/** What the call creat() means. */
const createOptions = {
  name: 'create',
  options: {
    wronly: always('wronly', { summary: 'only write; always on', because: created }),
    creat: always('creat', { summary: 'make it if it is not there; always on', because: created }),
    trunc: always('trunc', { summary: 'remove what is in it; always on', because: created }),
    excl: openOptions.options.excl,
    nofollow: openOptions.options.nofollow,
  },
} as const satisfies OptionGroup

const openGroups = [openOptions, fileOptions, regularOptions, entryOptions, termiosOptions] as const
const createGroups = [createOptions, fileOptions, regularOptions, entryOptions] as const

/** Entries of the file system: regular files, devices, pipes. */
export const fileKinds: readonly EndpointKind[] = [
  {
    keyword: 'OPEN',
    aliases: ['FILE'],
    syntax: 'OPEN:<path>',
    summary: 'a file, a device or a named pipe; for reading and writing, unless it says otherwise',
    groups: openGroups,
    role: 'both',
    ruled: ruledOptions,
    bind: address => fileEndpoint(address, 'OPEN', readOptions(address, openGroups)),
  },
  {
    keyword: 'GOPEN',
    aliases: [],
    syntax: 'GOPEN:<path>',
    summary:
      'what is at the path: a Unix socket is connected to, anything else is opened, a file to append to it',
    groups: openGroups,
    role: 'both',
    covers: ['OPEN'],
    ruled: ruledOptions,
    bind(address) {
      const options = readOptions(address, openGroups)
      return fileEndpoint(
        address,
        'GOPEN',
        { ...options, append: options.append ?? !options.rdonly },
        'generic',
      )
    },
  },
  {
    keyword: 'CREATE',
    aliases: ['CREAT'],
    syntax: 'CREATE:<path>',
    summary: 'a file to write to, made or emptied first',
    groups: createGroups,
    role: 'both',
    covers: ['OPEN'],
    ruled: ruledOptions,
    bind(address) {
      const options: OptionValues<typeof createGroups> = readOptions(address, createGroups)
      return fileEndpoint(address, 'CREATE', { ...options, wronly: true, creat: true, trunc: true })
    },
  },
]

type Manner = 'as it says' | 'generic'

function fileEndpoint(
  address: Address,
  keyword: string,
  options: FileOptions & TermiosOptions,
  manner: Manner = 'as it says',
) {
  checkTogether(address, options)
  const path = readPath(address, `${keyword}:<path>`)
  const scope = scopeAt(address, keyword, path, options)
  const dial = (cx: OpenContext) => dialFile(scope, options, manner, cx)
  return { address, scope, dialer: { dial } }
}

function scopeAt({ host }: Address, keyword: string, path: string, options: FileOptions): Address {
  const scope = { keyword, args: [path], options: exposure(options) }
  const text = formatAddress({ ...scope, options: [] })
  return { ...scope, text, ...(host !== undefined && { host }) }
}

/** Options that contradict each other, or that alone do nothing. */
function checkTogether(address: Address, options: FileOptions) {
  const { rdonly, creat, excl, trunc, append } = options
  checkWays(address, options)
  if (excl && !creat) throw wrongAddress(address, '`excl` alone does nothing', 'Write `creat,excl`')
  const writing = (trunc && 'trunc') || (append && 'append')
  if (rdonly && writing) {
    throw wrongAddress(address, `\`${writing}\` is for a file that is written`, 'Leave out `rdonly` or it')
  }
}

async function dialFile(
  scope: Address,
  options: FileOptions & TermiosOptions,
  manner: Manner,
  cx: OpenContext,
): Promise<Channel> {
  const uses = narrowed(usesOf(options), cx, scope.text)
  const request: FileRequest = {
    scope,
    options,
    ...uses,
    ...(manner === 'generic' && generic(scope, options, uses, cx)),
  }
  const found = await openFile(request, cx)
  if ('socket' in found) {
    if (manner === 'generic') return connectTo(scope, found.socket, cx)
    const why = 'it is a Unix socket, and those are connected to'
    throw new RelayError('usage', { what: scope.text, why, fix: `Write UNIX-CONNECT or GOPEN` })
  }
  const { unlinkClose = false, ignoreeof } = options
  const manners = { uses, termios: options, unlinkClose, follows: ignoreeof }
  return fileChannel(found, { text: scope.text }, manners, cx)
}

/** What is not there is made, as far as the ceiling agrees: it could not be asked before that was known. */
function generic(scope: Address, options: FileOptions, { writes }: Uses, cx: OpenContext) {
  if (options.creat !== undefined || !writes) return {}
  const making = scopeAt(scope, scope.keyword, scope.args[0]!, { ...options, creat: true })
  return { options: { ...options, creat: true }, mayCreate: () => cx.egress.check(making) }
}

function connectTo(scope: Address, path: string, cx: OpenContext): Promise<Channel> {
  const name = { is: 'path', text: path } as const
  return dialUnix({ scope: socketScope(scope, 'UNIX-CONNECT', name), name }, cx)
}

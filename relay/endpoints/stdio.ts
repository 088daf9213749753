import type { Duplex } from 'node:stream'
import { type Address, formatAddress } from '../address.ts'
import type { Channel, EndpointKind, OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { inheritedStream, openedFor, plainChannel, type Uses } from '../files/descriptor.ts'
import { joinedStream } from '../files/joined-stream.ts'
import { narrowed } from '../files/uses.ts'
import { readOptions } from '../options.ts'
import type { TermiosOptions } from '../terminal/apply-termios.ts'
import { setForAWhile } from '../terminal/own-terminal.ts'
import { termiosOptions } from '../terminal/termios-options.ts'
import { wrongAddress } from './ip-parts.ts'

/** Why no ceiling can permit them. */
export const byHand = 'it belongs to whoever starts the process by hand, and an agent is started by nobody'

const both: Uses = { reads: true, writes: true }
const reading: Uses = { reads: true, writes: false }
const writing: Uses = { reads: false, writes: true }

/** The descriptors that this process was started with. */
export const stdioKinds: readonly EndpointKind[] = [
  row('STDIO', 'standard input and output', both, [0, 1], uses =>
    joinedStream(
      uses.reads ? inheritedStream(0, reading) : undefined,
      uses.writes ? inheritedStream(1, writing) : undefined,
      false,
    ),
  ),
  row('STDIN', 'standard input', reading, [0], uses => inheritedStream(0, uses)),
  row('STDOUT', 'standard output', writing, [1], uses => inheritedStream(1, uses)),
  row('STDERR', 'standard error', writing, [2], uses => inheritedStream(2, uses)),
  {
    keyword: 'FD',
    aliases: [],
    syntax: 'FD:<number>',
    summary: 'a descriptor that the process was started with: a file, a pipe, a socket or a terminal',
    groups: [termiosOptions],
    role: 'both',
    byHand,
    bind(address) {
      const [text = ''] = address.args
      if (address.args.length !== 1 || !/^\d{1,9}$/.test(text)) {
        throw wrongAddress(address, 'it has no number of a descriptor', 'Write e.g. `FD:3`')
      }
      const options = readOptions(address, [termiosOptions])
      const fd = Number(text)
      const scope = scopeOf(address, 'FD', [String(fd)])
      const dial = async (cx: OpenContext) =>
        opened(cx, {
          scope,
          options,
          descriptors: [fd],
          has: openedFor(fd) ?? both,
          open: uses => inheritedStream(fd, uses),
        })
      return { address, scope, dialer: { dial } }
    },
  },
]

function row(
  keyword: string,
  summary: string,
  has: Uses,
  descriptors: readonly number[],
  open: Inherited['open'],
): EndpointKind {
  return {
    keyword,
    aliases: [],
    syntax: keyword,
    summary,
    groups: [termiosOptions],
    role: 'both',
    byHand,
    bind(address) {
      if (address.args.length > 0) {
        throw wrongAddress(address, `${keyword} takes no arguments`, `Write \`${keyword}\``)
      }
      const options = readOptions(address, [termiosOptions])
      const scope = scopeOf(address, keyword, [])
      const dial = (cx: OpenContext) => opened(cx, { scope, options, descriptors, has, open })
      return { address, scope, dialer: { dial } }
    },
  }
}

function scopeOf({ host }: Address, keyword: string, args: readonly string[]): Address {
  const plain = { keyword, args, options: [], ...(host !== undefined && { host }) }
  return { ...plain, text: formatAddress({ keyword, args, options: [] }) }
}

interface Inherited {
  readonly scope: Address
  readonly options: TermiosOptions
  readonly descriptors: readonly number[]
  readonly has: Uses
  open(uses: Uses): Duplex | undefined
}

async function opened(
  cx: OpenContext,
  { scope, options, descriptors, has, open }: Inherited,
): Promise<Channel> {
  if (cx.signal.aborted) throw RelayError.from(cx.signal.reason, scope.text)
  cx.egress.check(scope)
  const uses = narrowed(has, cx, scope.text)
  const restore = await setForAWhile(descriptors, options, scope.text)
  try {
    const stream = open(uses)
    if (!stream) throw unusable(scope.text)
    return restoring(plainChannel(stream, { text: scope.text }, uses), restore)
  } catch (error) {
    restore()
    throw explained(error, scope.text)
  }
}

/** Whoever has the terminal next finds it as it was; at the end of the process Node sees to that too. */
function restoring(channel: Channel, restore: () => void): Channel {
  let closing: Promise<void> | undefined
  return {
    ...channel,
    [Symbol.asyncDispose]() {
      if (!closing) restore()
      closing ??= Promise.resolve(channel[Symbol.asyncDispose]())
      return closing
    },
  }
}

function explained(error: unknown, what: string): RelayError {
  if (error instanceof RelayError) return error
  const { code } = error as NodeJS.ErrnoException
  if (code === 'EBADF') {
    const why = 'the process was not started with such a descriptor'
    return new RelayError('not-found', {
      what,
      why,
      fix: 'Open it in the shell, e.g. `3<file`',
      cause: error,
    })
  }
  return code === 'ERR_INVALID_FD_TYPE' ? unusable(what) : RelayError.from(error, what)
}

function unusable(what: string): RelayError {
  const why = 'it is neither a file, a pipe, a stream socket nor a terminal'
  return new RelayError('usage', { what, why, fix: 'Name another descriptor' })
}

import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { isatty, ReadStream, WriteStream } from 'node:tty'
import type { Channel, EndpointKind, OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { inheritedStream, plainChannel } from '../files/descriptor.ts'
import { flag, valued } from '../option-types.ts'
import { type OptionGroup, type OptionValues, readOptions } from '../options.ts'
import { wrongAddress } from './ip-parts.ts'
import { byHand } from './stdio.ts'

const readlineOptions = {
  name: 'readline',
  options: {
    history: valued(
      'history',
      { aliases: ['history-file'], summary: 'keep the lines in this file' },
      '<file>',
      '.history',
      text => ({ value: resolve(text) }),
    ),
    prompt: valued(
      'prompt',
      { summary: 'shown where the other side has shown none' },
      '<text>',
      '>',
      text => ({
        value: text,
      }),
    ),
    noprompt: flag('noprompt', { summary: 'take no incomplete line of the other side for a prompt' }),
    noecho: valued(
      'noecho',
      { summary: 'do not show or remember what is typed at a prompt like this' },
      '<regular-expression>',
      'word:',
      text => {
        try {
          return { value: new RegExp(text, 'u') }
        } catch (error) {
          return { problem: (error as Error).message, write: 'e.g. `noecho=^[Pp]assword:`' }
        }
      },
    ),
  },
} as const satisfies OptionGroup

type ReadlineOptions = OptionValues<readonly [typeof readlineOptions]>

export const readlineKinds: readonly EndpointKind[] = [
  {
    keyword: 'READLINE',
    aliases: [],
    syntax: 'READLINE',
    summary: 'the terminal that the process was started at, with lines that can be edited and repeated',
    groups: [readlineOptions],
    role: 'both',
    byHand,
    bind(address) {
      if (address.args.length > 0) {
        throw wrongAddress(address, 'READLINE takes no arguments', 'Write `READLINE`')
      }
      const options = readOptions(address, [readlineOptions])
      const at = address.host === undefined ? {} : { host: address.host }
      const scope = { keyword: 'READLINE', args: [], options: [], text: 'READLINE', ...at }
      return { address, scope, dialer: { dial: async cx => dialTerminal(options, cx) } }
    },
  },
]

const what = 'READLINE'

async function dialTerminal(
  { history: file, ...options }: ReadlineOptions,
  cx: OpenContext,
): Promise<Channel> {
  if (cx.signal.aborted) throw RelayError.from(cx.signal.reason, what)
  if (!isatty(0)) {
    throw new RelayError('usage', { what, why: 'standard input is no terminal', fix: 'Write STDIO' })
  }
  const history = file === undefined ? [] : readHistory(file)
  const output = isatty(1) ? new WriteStream(1) : inheritedStream(1, { reads: false, writes: true })
  if (!output)
    throw new RelayError('usage', { what, why: 'standard output cannot be written', fix: 'Open it' })
  // Node's line editor is not loaded for the sake of the table.
  const { lineEditor } = await import('../terminal/line-editor.ts')
  const stream = lineEditor({ input: new ReadStream(0), output }, { ...options, history })
  const channel = plainChannel(stream, { text: what }, { reads: true, writes: true })
  return {
    ...channel,
    async [Symbol.asyncDispose]() {
      await channel[Symbol.asyncDispose]()
      if (file !== undefined) writeHistory(file, history)
    },
  }
}

/** The newest first. A file that could not be written later is refused now. */
function readHistory(file: string): string[] {
  try {
    closeSync(openSync(file, 'a', 0o600))
    return readFileSync(file, 'utf8').split('\n').filter(Boolean).reverse()
  } catch (error) {
    throw RelayError.from(error, `${what}: history ${file}`)
  }
}

function writeHistory(file: string, history: readonly string[]): void {
  try {
    writeFileSync(
      file,
      history
        .toReversed()
        .map(line => `${line}\n`)
        .join(''),
    )
  } catch {
    // The conversation is over, and its lines are not worth an error.
  }
}

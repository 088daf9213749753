import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { formatAddress } from '../address.ts'
import type { Channel, EndpointKind, OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { readPath } from '../files/path.ts'
import { always, flag, size, valued } from '../option-types.ts'
import { type OptionGroup, type OptionValues, readOptions } from '../options.ts'
import { openInside } from './inside.ts'
import { readSince } from './since.ts'

const logOptions = {
  name: 'log',
  options: {
    watch: always('watch', {
      summary: 'only read what the port has said; always on',
      because: 'nothing is ever written to a port by its log',
    }),
    since: valued<ReturnType<typeof readSince> & object>(
      'since',
      { summary: 'only lines since then: so long ago, or a time as the lines have it' },
      '<when>',
      '2h',
      text => {
        const value = readSince(text)
        if (value) return { value }
        return {
          problem: 'it is neither a duration nor a time',
          write: '`since=2h` or `since=2026-11-29T10\\:00Z`',
        }
      },
    ),
    last: size('last', 'only lines of the last so many bytes', '64k', 2 ** 40),
    follow: flag('follow', { summary: 'go on with what is written from now on' }),
  },
} as const satisfies OptionGroup

type LogOptions = OptionValues<readonly [typeof logOptions]>

export const serialLogKinds: readonly EndpointKind[] = [
  {
    keyword: 'SERIAL-LOG',
    aliases: [],
    syntax: 'SERIAL-LOG:<path>',
    summary: 'what a serial port has said, from the files of the relay that keeps it open with `log=`',
    groups: [logOptions],
    role: 'target',
    ruled: ['watch'],
    // Who may watch the port may know what it has said; that the files may be read is asked too.
    covers: ['SERIAL'],
    bind(address) {
      const options = readOptions(address, [logOptions])
      const path = readPath(address, 'SERIAL-LOG:<path>')
      const named = { keyword: 'SERIAL-LOG', args: [path] }
      const scope = {
        ...named,
        options: [{ name: 'watch', at: 0 }],
        ...(address.host !== undefined && { host: address.host }),
        text: formatAddress({ ...named, options: [] }),
      }
      const dial = async (cx: OpenContext) => {
        const [{ keptLog, placeOf }, { logFiles }, { readLog }] = await Promise.all([
          import('../serial/shared.ts'),
          import('../serial/log-files.ts'),
          import('../serial/log-reader.ts'),
        ])
        cx.egress.check(scope)
        const real = await placeOf(scope, cx)
        const kept = keptLog(path, real)
        if (!kept) throw noLog(scope.text, path)
        const files = logFiles(kept, cx)
        const wish = { ...wishOf(options), lasts: () => keptLog(path, real)?.path === kept.path }
        return openInside(scope, cx, far => pass(far, signal => readLog(files, wish, signal)))
      }
      return { address, scope, dialer: { dial } }
    },
  },
]

function wishOf({ since, last, follow }: LogOptions) {
  const from = since && ('agoMs' in since ? Date.now() - since.agoMs : since.at)
  return { since: from, lastBytes: last, follow }
}

/** No more is read than somebody takes. */
async function pass(far: Channel, read: (signal: AbortSignal) => AsyncGenerator<Buffer>): Promise<void> {
  const over = new AbortController()
  far.stream.resume().once('close', () => over.abort())
  const lines = Readable.from(read(over.signal), { objectMode: false })
  // Who goes away in the middle has had enough.
  await pipeline(lines, far.stream).catch(thrown => {
    if (!over.signal.aborted) throw thrown
  })
}

function noLog(what: string, path: string): RelayError {
  return new RelayError('not-found', {
    what,
    why: 'no relay of this host keeps a log of that port now',
    fix: `Create one with a target like SERIAL:${path},share,log=/var/log/serial/console.log`,
  })
}

import type { Duplex } from 'node:stream'
import type { Address } from '../address.ts'
import type { EndpointKind, OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { readOptions } from '../options.ts'
import { hostStatus, hostStatusText } from './host-status.ts'
import { serveHttp } from './http-inside.ts'
import { openInside, type Service } from './inside.ts'

/** Small services of this very process, so that nobody needs a program for them. */
export const builtInKinds: readonly EndpointKind[] = [
  row('HEALTH', 'an HTTP answer: 200, and as JSON the host, its time, uptime and load', far =>
    serveHttp(far, (_request, response) => {
      const body = `${JSON.stringify({ status: 'ok', ...hostStatus() })}\n`
      const headers = {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
        'cache-control': 'no-store',
      }
      response.writeHead(200, headers).end(body)
    }),
  ),
  row('STATUS', 'four lines of text: the host, its time, uptime and load', ({ stream }) => {
    stream.resume().end(hostStatusText())
  }),
  row(
    'PORTS',
    'the serial ports of the host, as JSON, with their stable names and who uses them',
    async far => {
      const { portsText } = await import('../serial/ports-text.ts')
      far.stream.resume().end(await portsText())
    },
  ),
  row('ECHO', 'sends back what it gets (RFC 862)', ({ stream }) => void stream.pipe(stream)),
  row('DISCARD', 'takes what it gets, and says nothing (RFC 863)', ({ stream }) => {
    stream.once('end', () => stream.end()).resume()
  }),
  row('ZERO', 'zeros without end, as /dev/zero', ({ stream }) => {
    repeat(stream, Buffer.alloc(65_536))
  }),
  row('CHARGEN', 'lines of characters without end (RFC 864)', ({ stream }) => {
    repeat(stream, characters)
  }),
  row('TIME', 'the time as RFC 868 has it, four bytes; STATUS says it in words', ({ stream }) => {
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32BE((Math.floor(Date.now() / 1_000) + secondsFrom1900To1970) % 2 ** 32)
    stream.resume().end(bytes)
  }),
]

const secondsFrom1900To1970 = 2_208_988_800

/** Each line is the one before, begun one character later; after as many lines as there are characters it starts over. */
const characters = Buffer.from(
  Array.from({ length: 95 }, (_, line) => {
    const turned = Array.from({ length: 72 }, (_, at) => String.fromCharCode(32 + ((line + at) % 95)))
    return `${turned.join('')}\r\n`
  }).join(''),
  'latin1',
)

/** Writes the same bytes for as long as somebody takes them; what the client says is dropped. */
function repeat(stream: Duplex, bytes: Buffer): void {
  const more = () => {
    while (!stream.destroyed && stream.write(bytes)) {}
  }
  stream.resume().on('drain', more)
  more()
}

function row(keyword: string, summary: string, service: Service): EndpointKind {
  return {
    keyword,
    aliases: [],
    syntax: keyword,
    summary,
    groups: [],
    role: 'target',
    bind(address) {
      if (address.args.length > 0) {
        const why = `${keyword} takes no arguments`
        throw new RelayError('usage', {
          what: `address \`${address.text}\``,
          why,
          fix: `Write \`${keyword}\``,
        })
      }
      readOptions(address, [])
      const scope = scopeOf(address, keyword)
      const dialer = { dial: async (cx: OpenContext) => openInside(scope, cx, service) }
      return { address, scope, dialer }
    },
  }
}

function scopeOf({ host }: Address, keyword: string): Address {
  return { keyword, args: [], options: [], text: keyword, ...(host !== undefined && { host }) }
}

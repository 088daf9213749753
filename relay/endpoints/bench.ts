import type { Address } from '../address.ts'
import type { Channel, Endpoint, EndpointKind, OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { measuredLine, problemOf } from '../measured-lines.ts'
import { type Bounds, defaultBounds, measure } from '../measuring.ts'
import { duration, integer } from '../option-types.ts'
import { type OptionGroup, readOptions } from '../options.ts'
import { openInside } from './inside.ts'

const benchOptions = {
  name: 'bench',
  options: {
    time: duration('time', {
      aliases: [],
      summary: 'how long each part takes at most',
      min: 1,
      max: 600_000,
    }),
    bytes: integer('bytes', {
      aliases: [],
      summary: 'how many bytes each part carries at most',
      min: 1,
      max: 2 ** 50,
    }),
  },
} as const satisfies OptionGroup

export const benchKinds: readonly EndpointKind[] = [
  {
    keyword: 'BENCH',
    aliases: [],
    syntax: 'BENCH:<agent>',
    summary: 'measures the way from here to another agent, for `fleetcat bench`',
    groups: [benchOptions],
    role: 'target',
    bind: bindBench,
  },
]

function bindBench(address: Address): Endpoint {
  const [agent = ''] = address.args
  if (address.args.length !== 1 || agent === '')
    throw new RelayError('usage', {
      what: `address \`${address.text}\``,
      why: 'it names no agent',
      fix: 'Write `BENCH:<agent>`',
    })
  const { time = defaultBounds.ms, bytes = defaultBounds.bytes } = readOptions(address, [benchOptions])
  const at = address.host === undefined ? {} : { host: address.host }
  const scope: Address = { keyword: 'BENCH', args: [agent], options: [], text: `BENCH:${agent}`, ...at }
  const dial = async (cx: OpenContext) => dialBench(scope, agent, { ms: time, bytes }, cx)
  return { address, scope, dialer: { dial } }
}

/** What it opens on the other agent the operator's tunnel has to permit; nobody else has an `onward`. */
function dialBench(scope: Address, agent: string, bounds: Bounds, cx: OpenContext): Channel {
  const { onward, egress } = cx
  if (!onward) {
    const why = 'it measures only for `fleetcat bench`'
    throw new RelayError('unsupported', { what: scope.text, why, fix: 'Run `fleetcat bench @a @b`' })
  }
  return openInside(scope, cx, async ({ stream }) => {
    const over = new AbortController()
    const gone = new RelayError('closed', { what: scope.text, why: 'nobody waits for the figures any more' })
    stream.resume().once('close', () => over.abort(gone))
    try {
      const figures = await measure(
        (service, signal) => onward(`@${agent}/${service}`).dial({ signal, egress }),
        bounds,
        progress => void stream.write(measuredLine({ progress })),
        over.signal,
      )
      stream.end(measuredLine({ figures }))
    } catch (thrown) {
      if (!stream.destroyed) stream.end(measuredLine(problemOf(RelayError.from(thrown, scope.text))))
    }
  })
}

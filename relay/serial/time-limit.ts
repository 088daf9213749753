import type { Channel } from '../endpoint.ts'
import { RelayError } from '../errors.ts'

/** Who has the port is told so long before. */
const warnMs = 60_000

/** The same channel, which ends when the time of whoever has it is over. */
export function forSoLong(
  channel: Channel,
  lastsMs: number,
  what: string,
  warn: (text: string) => void,
): Channel {
  const end = setTimeout(() => {
    const error = new RelayError('expired', { what, why: 'the time for which it was asked for is over' })
    channel.stream.destroy(error)
    channel.abort(error)
  }, lastsMs)
  const warning =
    lastsMs > 2 * warnMs
      ? setTimeout(() => warn('it is yours for one more minute'), lastsMs - warnMs)
      : undefined
  const stop = () => {
    clearTimeout(end)
    clearTimeout(warning)
  }
  channel.stream.once('close', stop)
  return {
    ...channel,
    [Symbol.asyncDispose]() {
      stop()
      return channel[Symbol.asyncDispose]()
    },
  }
}

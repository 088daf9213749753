import type { Channel } from '../endpoint.ts'
import { type TelnetParts, type TelnetStream, telnetStream } from './telnet-stream.ts'

/** A channel of the data of a telnet conversation over `inner`, which it takes over, errors included. */
export function telnetChannel(
  inner: Channel,
  parts: TelnetParts,
): { readonly telnet: TelnetStream; readonly channel: Channel } {
  const telnet = telnetStream(inner.stream, parts)
  const { stream } = telnet
  const { lender: _lender, ...rest } = inner
  const closed = new Promise<void>(resolve => stream.once('close', () => resolve()))
  const channel: Channel = {
    ...rest,
    stream,
    abort(reason) {
      inner.abort(reason)
      stream.destroy()
    },
    async [Symbol.asyncDispose]() {
      stream.destroy()
      await inner[Symbol.asyncDispose]()
      await closed
    },
  }
  return { telnet, channel }
}

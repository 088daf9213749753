import type { Address } from '../address.ts'
import type { Channel, OpenContext } from '../endpoint.ts'
import { readOptions } from '../options.ts'
import { defaultEndAfterMs } from '../serial/quiet-end.ts'
import { rfc2217Client } from '../serial/rfc2217/client.ts'
import { lineUseOptions } from './line-options.ts'
import { defaultConnectTimeoutMs } from './tcp-dial.ts'

/**
 * The line of `address` on another host, which was opened there with its line (see `lineAddress`) and comes through
 * `inner`. How it is to be set is done there; when it ends is judged here, for whoever has the line and ends is gone.
 * Rejects with a RelayError, and has then disposed `inner`.
 */
export function farLine(inner: Channel, address: Address, cx: Pick<OpenContext, 'signal'>): Promise<Channel> {
  const options = address.options.filter(({ name }) => name === lineUseOptions.options.endAfter.name)
  const { endAfter = defaultEndAfterMs } = readOptions({ ...address, options }, [lineUseOptions])
  const patience = { withinMs: defaultConnectTimeoutMs, endAfterMs: endAfter }
  return rfc2217Client(inner, { what: address.text, ...patience, isOurs: true }, cx)
}

import { setTimeout as sleep } from 'node:timers/promises'
import type { Address } from '../address.ts'
import type { Acceptor, Channel, Dialer, Endpoint } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { retryOptions } from '../option-groups.ts'

const defaultIntervalMs = 1_000

/** Has an address that connects the option `fork`? */
export function isDialledAgain({ options }: Pick<Address, 'options'>): boolean {
  return options.some(({ name, value }) => name === 'fork' && value !== '0')
}

/** What connects as what arrives: a connection is made, handed over, and after the address's `interval` the next one. */
export function dialledAgain(endpoint: Endpoint): Endpoint {
  const { dialer, ...rest } = endpoint
  if (!dialer) return endpoint
  const text = endpoint.address.options.find(({ name }) => name === 'interval')?.value
  const reading = retryOptions.options.interval.read(text)
  const intervalMs = text !== undefined && 'value' in reading ? reading.value : defaultIntervalMs
  return { ...rest, acceptor: dialAgain(dialer, endpoint.address.text, intervalMs) }
}

function dialAgain(dialer: Dialer, local: string, intervalMs: number): Acceptor {
  return {
    async listen(cx) {
      const stopping = new AbortController()
      const stop = () => stopping.abort(RelayError.from(cx.signal.reason, local))
      cx.signal.addEventListener('abort', stop)
      const { signal } = stopping
      let first: Channel | undefined = await dialer.dial({ ...cx, signal })
      const next = async (): Promise<Channel> => {
        const channel = first
        first = undefined
        if (channel) return channel
        await sleep(intervalMs, undefined, { signal })
        return dialer.dial({ ...cx, signal })
      }
      return {
        local,
        [Symbol.asyncIterator]: () => ({
          async next() {
            try {
              return { done: false, value: await next() }
            } catch (error) {
              if (signal.aborted) return { done: true, value: undefined }
              throw error
            }
          },
        }),
        async [Symbol.asyncDispose]() {
          cx.signal.removeEventListener('abort', stop)
          stopping.abort(new RelayError('closed', { what: local, why: 'no more connections are made' }))
          await first?.[Symbol.asyncDispose]()
        },
      }
    },
  }
}

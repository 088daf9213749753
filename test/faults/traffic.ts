import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

/** One client's conversation. Times are those of `sharedNow`. */
export interface Talk {
  closed: boolean
  /** Of the client's end. */
  localPort: number
  /** When the last message was said that has reached the server. */
  forwardUntil: number
  /** When the last reply was said that has reached the client. */
  backwardUntil: number
}

export type Question =
  | { readonly do: 'serve'; readonly port: number }
  | { readonly do: 'open'; readonly port: number; readonly from?: string }
  | { readonly do: 'state' }
  | { readonly do: 'forget' }

/** A server and clients on one host, which talk all the time. */
export interface Traffic extends AsyncDisposable {
  /** Of the server. */
  readonly port: number
  /** Resolves once a reply has come through, with the number of the talk; with nothing when nobody lets it in. */
  open(port: number, from?: string): Promise<number | undefined>
  talks(): Promise<ReadonlyMap<number, Talk>>
  /** Ends all talks. */
  forget(): Promise<void>
}

/** Milliseconds on a clock that all processes of this machine share. */
export const sharedNow = (): number => Number(process.hrtime.bigint()) / 1e6

/** Without a namespace it is the machine's own loopback that they talk on. */
export async function openTraffic({
  netns,
  port = 0,
}: {
  netns?: string
  port?: number
} = {}): Promise<Traffic> {
  const program = join(import.meta.dirname, 'programs/traffic.ts')
  const inside = netns ? { execPath: 'ip', execArgv: ['netns', 'exec', netns, process.execPath] } : {}
  const child = fork(program, { ...inside, serialization: 'advanced' })
  const ended = once(child, 'exit')
  const waiting = new Map<number, PromiseWithResolvers<unknown>>()
  let tickets = 0

  child.on('message', ({ ticket, value, error }: { ticket: number; value?: unknown; error?: string }) => {
    const asked = waiting.get(ticket)
    waiting.delete(ticket)
    if (error) asked?.reject(new Error(error))
    else asked?.resolve(value)
  })
  void ended.then(() => {
    for (const asked of waiting.values()) asked.reject(new Error('the traffic has ended'))
  })

  function ask<T>(question: Question): Promise<T> {
    const asked = Promise.withResolvers<unknown>()
    const ticket = ++tickets
    waiting.set(ticket, asked)
    child.send({ ticket, question })
    return asked.promise as Promise<T>
  }

  return {
    port: await ask<number>({ do: 'serve', port }),
    open: (port, from) => ask({ do: 'open', port, ...(from && { from }) }),
    talks: async () => new Map(await ask<[number, Talk][]>({ do: 'state' })),
    forget: () => ask({ do: 'forget' }),
    async [Symbol.asyncDispose]() {
      if (child.connected) child.disconnect()
      await ended
    },
  }
}

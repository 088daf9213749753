import { Duplex } from 'node:stream'
import type { Channel, Dialer, OpenContext } from './endpoint.ts'

/** One channel for all who dial: it is opened for the first of them, and stays open when they go. */
export interface SharedDialer extends Dialer, AsyncDisposable {
  /** Opens the channel, before anybody needs it. */
  open(cx: OpenContext): Promise<void>
}

/**
 * As socat has it with a listener as its second address: what many write goes to the one channel, and what it says goes
 * to whoever reads at that moment. Its end is the end of all.
 */
export function shareDialer(dialer: Dialer): SharedDialer {
  const views = new Set<View>()
  let opening: Promise<Channel> | undefined
  let over = false

  const opened = async (cx: OpenContext): Promise<Channel> => {
    const channel = await dialer.dial(cx)
    const { stream } = channel
    stream.pause()
    stream.on('data', (chunk: Buffer) => {
      const reader = [...views].find(view => view.wants)
      reader?.give(chunk)
      if (![...views].some(view => view.wants)) stream.pause()
      if (!reader) stream.unshift(chunk)
    })
    stream.on('end', () => {
      over = true
      for (const view of views) view.push(null)
    })
    stream.on('error', error => {
      for (const view of views) view.destroy(error)
    })
    stream.on('close', () => {
      for (const view of views) if (!over) view.destroy()
    })
    return channel
  }

  return {
    async open(cx) {
      opening ??= opened(cx)
      await opening
    },
    async dial(cx) {
      opening ??= opened(cx)
      const channel = await opening
      const view = new View(channel)
      views.add(view)
      view.once('close', () => views.delete(view))
      if (over) view.push(null)
      const { framing, peer, oneWay } = channel
      const closed = new Promise<void>(resolve => view.once('close', () => resolve()))
      return {
        stream: view,
        framing,
        peer,
        ...(oneWay && { oneWay }),
        abort: () => void view.destroy(),
        [Symbol.asyncDispose]() {
          view.destroy()
          return closed
        },
      }
    },
    async [Symbol.asyncDispose]() {
      const channel = await opening?.catch(() => undefined)
      await channel?.[Symbol.asyncDispose]()
    },
  }
}

/** What one of them sees of it. A class, for that is how Node's streams are extended. */
class View extends Duplex {
  readonly #shared: Duplex
  wants = false

  constructor({ stream, framing }: Channel) {
    super({ allowHalfOpen: true, readableObjectMode: framing === 'datagram' })
    this.#shared = stream
    this.on('error', () => {}).on('close', () => {
      this.wants = false
    })
  }

  give(chunk: Buffer): void {
    this.wants = this.push(chunk)
  }

  override _read(): void {
    this.wants = true
    this.#shared.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#shared.write(chunk, done)
  }

  override _final(done: () => void): void {
    done()
  }
}

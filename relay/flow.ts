import type { Channel, Lender } from './endpoint.ts'

/** One direction of a conversation. Ends and errors are not its business. */
export interface Flow {
  start(): void
  stop(): void
}

/**
 * Carries what `from` says to `to`, as fast as `to` takes it; `moved` is told of progress: how many bytes were handed
 * on, or 0 when `to` has caught up. What comes for a `source` is read all the same and dropped, for only a reader
 * notices that its peer has gone.
 */
export function newFlow(from: Channel, to: Channel, moved: (bytes: number) => void): Flow {
  if (to.oneWay === 'source') return drain(from, moved)
  if (from.lender && to.lender) return borrow(from, from.lender, to, moved)
  return carry(from, to, moved)
}

/** `data`, `write` and `drain` by hand: `pipe` carries half as many small messages. Nothing is allocated here. */
function carry({ stream: source }: Channel, { stream: sink }: Channel, moved: (bytes: number) => void): Flow {
  const onData = (chunk: Buffer) => {
    moved(chunk.length)
    if (!sink.write(chunk)) source.pause()
  }
  const onDrain = () => {
    moved(0)
    source.resume()
  }
  return {
    start() {
      sink.on('drain', onDrain)
      source.on('data', onData).resume()
    },
    stop() {
      sink.off('drain', onDrain)
      source.off('data', onData)
    },
  }
}

/** The same with bytes that are only lent: nothing more is read until all of them have been written. */
function borrow(
  { stream: source }: Channel,
  lender: Lender,
  { stream: sink }: Channel,
  moved: (bytes: number) => void,
): Flow {
  let kept = false
  const onWritten = () => {
    if (!kept || sink.writableLength > 0) return
    kept = false
    moved(0)
    lender.returned()
  }
  return {
    start() {
      lender.lend(bytes => {
        moved(bytes.length)
        sink.write(bytes, onWritten)
        kept = sink.writableLength > 0
        return !kept
      })
      source.resume()
    },
    stop() {
      lender.lend(dropped)
    },
  }
}

function drain({ stream: source }: Channel, moved: (bytes: number) => void): Flow {
  const onData = () => moved(0)
  return {
    start: () => void source.on('data', onData).resume(),
    stop: () => void source.off('data', onData),
  }
}

function dropped(): boolean {
  return true
}

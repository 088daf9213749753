import type { Channel, Lender } from './endpoint.ts'

/**
 * Told of progress before it is made: these bytes, valid during the call only, are to be handed on; or none, when `to`
 * has caught up. False: nothing may pass any more.
 */
export type Moved = (bytes: Buffer) => boolean

/** As much of a channel as carries bytes. */
export type FlowEnd = Pick<Channel, 'stream' | 'oneWay' | 'lender' | 'borrows'>

const caughtUp: Buffer = Buffer.alloc(0)

/**
 * Carries what `from` says to `to`, as fast as `to` takes it, until the function that it returns is called. `moved` is
 * told of progress. Ends and errors are not its business.
 *
 * What comes for a `source` is read all the same and dropped, for only a reader notices that its peer has gone.
 */
export function startFlow(from: FlowEnd, to: FlowEnd, moved: Moved): () => void {
  if (to.oneWay === 'source') return swallow(from, moved)
  if (from.lender && to.borrows) return passOn(from, from.lender, to, moved)
  return handOver(from, to, moved)
}

/** `data`, `write` and `drain` by hand: `pipe` carries half as many small messages. */
function handOver({ stream: source }: FlowEnd, { stream: sink }: FlowEnd, moved: Moved) {
  const onData = (chunk: Buffer) => {
    if (moved(chunk) && !sink.write(chunk)) source.pause()
  }
  const onDrain = () => {
    moved(caughtUp)
    source.resume()
  }
  sink.on('drain', onDrain)
  source.on('data', onData).resume()
  return () => {
    sink.off('drain', onDrain)
    source.off('data', onData)
  }
}

/** The same with bytes that are only lent: nothing more is read until all of them have been written. */
function passOn({ stream: source }: FlowEnd, lender: Lender, { stream: sink }: FlowEnd, moved: Moved) {
  let kept = false
  const onWritten = () => {
    if (!kept || sink.writableLength > 0) return
    kept = false
    moved(caughtUp)
    lender.returned()
  }
  lender.lend(bytes => {
    if (!moved(bytes)) return true
    sink.write(bytes, onWritten)
    kept = sink.writableLength > 0
    return !kept
  })
  source.resume()
  return () => lender.lend(dropped)
}

/** Reads what `from` says and drops it. */
export function swallow({ stream: source }: FlowEnd, moved: (bytes: Buffer) => unknown): () => void {
  const onData = () => moved(caughtUp)
  source.on('data', onData).resume()
  return () => void source.off('data', onData)
}

function dropped(): boolean {
  return true
}

import { setImmediate as nextTurn } from 'node:timers/promises'
import type { DumpOrder, SendDumpRequest } from '#gen/fleetcat/v1/agent.ts'
import { Direction, DumpFrame } from '#gen/fleetcat/v1/relay.ts'
import type { RelayError } from '#relay/errors.ts'
import type { WatchEvent, Watcher } from '#relay/layers/watcher.ts'
import { toProblem } from '#wire/problem.ts'
import type { DumpsContext } from './dumps.ts'

type Message = NonNullable<SendDumpRequest['message']>

/** What passes in this time goes in one message, unless it is more than one message takes. */
const batchMs = 20
const mostInMessage = 64 * 1024
const perFrame = 256
const lastWordsMs = 5_000

const directions = { forward: Direction.FORWARD, backward: Direction.BACKWARD }

/**
 * Shows one dump over one call, until the controller answers it, or there is no more to show. One message at a time is
 * on its way: what comes meanwhile waits with the watcher, which has a bound and counts what it had to let go.
 */
export function showDump(order: DumpOrder, { open, watch, connections }: DumpsContext, refusal?: RelayError) {
  const gone = Promise.withResolvers<void>()
  const watching = new Set<Watcher>()
  let batch: DumpFrame[] = []
  let size = 0
  let timer: NodeJS.Timeout | undefined
  let patience: NodeJS.Timeout | undefined
  let writing: Promise<void> = Promise.resolve()
  let written = () => {}
  let isOver = false
  let leave = () => {}

  const client = open()
  const call = client.sendDump(() => over())

  function over(): void {
    isOver = true
    clearTimeout(timer)
    clearTimeout(patience)
    leave()
    for (const watcher of watching) watcher[Symbol.dispose]()
    written()
    client.close()
    gone.resolve()
  }

  function write(message: Message): Promise<void> {
    writing = writing.then(async () => {
      if (isOver) return
      await new Promise<void>(resolve => {
        written = resolve
        call.write({ message }, () => resolve())
      })
    })
    return writing
  }

  function flush(): Promise<void> {
    clearTimeout(timer)
    timer = undefined
    const frames = batch
    if (frames.length === 0) return writing
    batch = []
    size = 0
    return write({ $case: 'frames', value: { frames } })
  }

  function frameOf(event: WatchEvent): DumpFrame | undefined {
    if (event.is === 'lost') return DumpFrame.fromPartial({ at: new Date(), skipped: BigInt(event.bytes) })
    const direction = directions[event.direction]
    if (order.direction !== Direction.UNSPECIFIED && direction !== order.direction) return undefined
    const { connectionId, bytes, at, from } = event
    const { source = '', target = '' } = connections.get(connectionId) ?? {}
    const data = Buffer.from(bytes)
    return {
      connectionId,
      source,
      target,
      direction,
      at: new Date(at),
      from: BigInt(from),
      data,
      skipped: 0n,
    }
  }

  async function carry(watcher: Watcher): Promise<void> {
    watching.add(watcher)
    for await (const event of watcher) {
      const frame = frameOf(event)
      if (!frame) continue
      batch.push(frame)
      size += frame.data.length + perFrame
      if (size >= mostInMessage) await flush()
      else timer ??= setTimeout(flush, batchMs)
    }
    watching.delete(watcher)
  }

  async function finish(why: RelayError): Promise<void> {
    patience = setTimeout(() => call.cancel(), lastWordsMs)
    // What has passed by now is on its way from the watcher to the batch.
    await nextTurn()
    for (const watcher of watching) watcher[Symbol.dispose]()
    await flush()
    await write({ $case: 'end', value: toProblem(why) })
    if (!isOver) call.end()
  }

  void write({ $case: 'dumpId', value: order.dumpId })
  if (refusal) void finish(refusal)
  else {
    const connectionId = order.connectionId || undefined
    leave = watch(order.relayId, { connectionId, watches: watcher => void carry(watcher), ended: finish })
  }
  return { cancel: () => call.cancel(), gone: gone.promise }
}

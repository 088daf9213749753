import type { DumpOrder, SendDumpRequest } from '#gen/fleetcat/v1/agent.ts'
import { Direction, DumpFrame } from '#gen/fleetcat/v1/relay.ts'
import type { RelayError } from '#relay/errors.ts'
import type { WatchEvent, Watcher } from '#relay/layers/watcher.ts'
import { toProblem } from '#wire/problem.ts'
import type { DumpsContext } from './dumps.ts'

type Message = NonNullable<SendDumpRequest['message']>

/**
 * One message in this time, of what has passed meanwhile, and of no more than this: some ten megabytes a second. A relay
 * that is faster keeps the processor for itself.
 */
const batchMs = 10
const mostInMessage = 128 * 1024
const perFrame = 256
const lastWordsMs = 5_000

const numbers = { forward: Direction.FORWARD, backward: Direction.BACKWARD }
const words = { [Direction.FORWARD]: 'forward', [Direction.BACKWARD]: 'backward' } as const

/**
 * Shows one dump over one call, until the controller answers it, or there is no more to show. One message at a time is
 * on its way: what comes meanwhile waits with the watcher, which has a bound and counts what it had to let go.
 */
export function showDump(order: DumpOrder, { open, watch, connections }: DumpsContext, refusal?: RelayError) {
  const gone = Promise.withResolvers<void>()
  const watching = new Map<Watcher, Promise<void>>()
  let batch: DumpFrame[] = []
  let emptied = Promise.withResolvers<void>()
  let size = 0
  let timer: NodeJS.Timeout | undefined
  let patience: NodeJS.Timeout | undefined
  let writing: Promise<void> = Promise.resolve()
  let written = () => {}
  let isSending = false
  let isOver = false
  let leave = () => {}

  const client = open()
  const call = client.sendDump(() => over())

  function over(): void {
    isOver = true
    clearTimeout(timer)
    clearTimeout(patience)
    leave()
    for (const watcher of watching.keys()) watcher[Symbol.dispose]()
    written()
    emptied.resolve()
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

  function schedule(): void {
    if (batch.length > 0 && !isSending && !isOver) timer ??= setTimeout(send, batchMs)
  }

  async function send(): Promise<void> {
    clearTimeout(timer)
    timer = undefined
    const frames = batch
    batch = []
    size = 0
    emptied.resolve()
    emptied = Promise.withResolvers()
    isSending = true
    await write({ $case: 'frames', value: { frames } })
    isSending = false
    schedule()
  }

  function frameOf(event: WatchEvent): DumpFrame {
    if (event.is === 'lost') return DumpFrame.fromPartial({ at: new Date(), skipped: BigInt(event.bytes) })
    const { connectionId, direction, bytes, at, from } = event
    const { source = '', target = '' } = connections.get(connectionId) ?? {}
    const about = { connectionId, source, target, direction: numbers[direction], at: new Date(at) }
    return { ...about, from: BigInt(from), data: bytes, skipped: 0n }
  }

  async function carry(watcher: Watcher): Promise<void> {
    for await (const event of watcher) {
      const frame = frameOf(event)
      batch.push(frame)
      size += frame.data.length + perFrame
      schedule()
      while (size >= mostInMessage && !isOver) await emptied.promise
    }
    watching.delete(watcher)
  }

  async function finish(why: RelayError): Promise<void> {
    patience = setTimeout(() => call.cancel(), lastWordsMs)
    for (const watcher of watching.keys()) watcher.close()
    for (const carried of watching.values()) await carried
    await writing
    if (batch.length > 0) await send()
    await write({ $case: 'end', value: toProblem(why) })
    if (!isOver) call.end()
  }

  void write({ $case: 'dumpId', value: order.dumpId })
  if (refusal) void finish(refusal)
  else {
    leave = watch(order.relayId, {
      connectionId: order.connectionId || undefined,
      direction: words[order.direction as keyof typeof words],
      watches: watcher => void watching.set(watcher, carry(watcher)),
      ended: finish,
    })
  }
  return { cancel: () => call.cancel(), gone: gone.promise }
}

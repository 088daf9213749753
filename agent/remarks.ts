import type { Remark as RemarkMessage, Remarks as RemarksMessage } from '#gen/fleetcat/v1/agent.ts'
import type { Remark } from '#relay/remark.ts'
import type { Logger } from '#telemetry/log.ts'
import { openRepeats, type RepeatOptions } from '#telemetry/repeats.ts'

/** What the targets of relays have to say, until the controller has heard it. */
export interface Remarks extends Disposable {
  /** `relayId` is empty for a tunnel that an operator has opened. */
  heard(relay: { readonly id: string; readonly name: string }, remark: Remark): void
  /** What the controller has yet to hear, and will not be told again. */
  take(): RemarksMessage | undefined
}

interface Told extends Remark {
  readonly relay: { readonly id: string; readonly name: string }
}

/** Of a controller that is away for long, the last are kept. */
const mostWaiting = 200
/** A device may say much in one line. */
const mostText = 1_000

/** They come from devices, and may come in floods. `due` is called when there is something to take. */
export function openRemarks(
  log: Logger,
  due: () => void,
  options: RepeatOptions = { pauseMs: 1_000 },
): Remarks {
  let waiting: RemarkMessage[] = []
  let leftOut = 0

  const repeats = openRepeats<Told>(({ relay, event, subject, connectionId = '', ...said }, count) => {
    const text = said.text.slice(0, mostText)
    const about = {
      relay: relay.name,
      subject,
      text,
      count,
      ...(connectionId && { connection: connectionId }),
    }
    log.warn({ event, ...about }, 'a target has something to say')
    waiting.push({
      ...{ relayId: relay.id, connectionId, event, subject, text },
      at: new Date(),
      count: BigInt(count),
    })
    if (waiting.length > mostWaiting) {
      waiting.shift()
      leftOut++
    }
    due()
  }, options)

  return {
    heard(relay, remark) {
      // Each of those who take over is named; of lines that match, the last.
      const each = remark.event === 'serial.taken-over' ? remark.text : ''
      repeats.raise(remark.event, `${relay.id} ${remark.subject} ${each}`, { ...remark, relay })
    },
    take() {
      if (waiting.length === 0) return undefined
      const taken = { remarks: waiting, leftOut: BigInt(leftOut) }
      waiting = []
      leftOut = 0
      return taken
    },
    [Symbol.dispose]: () => repeats[Symbol.dispose](),
  }
}

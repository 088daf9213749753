import type { Address } from '../address.ts'
import type { Channel, OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import {
  companionCodes,
  errorsBytes,
  isCompanion,
  refusalBytes,
  standingBytes,
  toldBytes,
} from './companion.ts'
import { portScope } from './port-scope.ts'
import type { Companion } from './rfc2217/server.ts'
import { servedChannel } from './served-channel.ts'
import type { Attachment, SharedView } from './shared-port.ts'
import type { Standing } from './standing.ts'
import { viewControl } from './view-control.ts'

/** So many words wait for whoever hears none now; others can bring about any number of them. */
const mostUntold = 20

/** Ways to hear of what is no bytes of the line. */
export type Hearing = Required<Pick<Attachment, 'told' | 'changed'>>

/**
 * A port of which a client has the line too, by RFC 2217: what goes through the channel is that. `attach` makes the place
 * among those who have the port. Rejects as it does.
 */
export async function controlledChannel(
  { scope, path }: { readonly scope: Address; readonly path: string },
  attach: (hearing: Hearing) => Promise<SharedView>,
  cx: OpenContext,
): Promise<Channel> {
  let view: SharedView | undefined
  /** Who has asked to be told. */
  let client: Parameters<Companion['heard']>[1] | undefined
  /** Who takes nothing in, or has not asked yet, hears the last of it then. */
  const untold: string[] = []
  let owing = false
  const tellStanding = () => {
    owing = client?.isStuck ?? false
    if (view && !owing) client?.say(standingBytes(standingOf(view)))
  }
  const tell = () => {
    while (client && !client.isStuck && untold.length > 0) client.say(toldBytes(untold.shift()!))
  }
  view = await attach({
    told(text) {
      untold.push(text)
      if (untold.length > mostUntold) untold.shift()
      tell()
    },
    changed: tellStanding,
  })
  const attached = view

  const companion: Companion = {
    isIts: isCompanion,
    heard(code, asking) {
      if (code === companionCodes.hello) {
        client = asking
        client.say(standingBytes(standingOf(attached)))
        tell()
      } else if (code === companionCodes.takeOver) {
        asking.say(takenOver(attached, path, cx))
      } else if (code === companionCodes.errors) {
        const counted = attached.seen?.counters() ?? Promise.resolve(undefined)
        void counted.catch(() => undefined).then(counts => asking.say(errorsBytes(counts)))
      }
    },
    caughtUp() {
      if (owing) tellStanding()
      tell()
    },
  }
  const far: Channel = {
    stream: attached.stream,
    framing: 'stream',
    peer: { text: scope.text },
    serial: viewControl(attached, path),
    abort: () => attached.abort(),
    [Symbol.asyncDispose]: () => Promise.resolve(attached[Symbol.asyncDispose]()),
  }
  return servedChannel(far, companion)
}

function standingOf({ writes, seen, present }: SharedView): Standing {
  const line = seen?.settings
  return { writes, there: line !== undefined, ...(line && { line }), present }
}

/** Who may only watch by the ceiling stays a watcher. */
function takenOver(view: SharedView, path: string, cx: OpenContext): Buffer {
  try {
    cx.egress.check(portScope(path))
    view.takeOver()
    return standingBytes(standingOf(view), 'takeOver')
  } catch (thrown) {
    return refusalBytes(RelayError.from(thrown, portScope(path).text))
  }
}

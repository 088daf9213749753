import type { Address } from '../address.ts'
import type { Channel, OpenContext } from '../endpoint.ts'
import { lineWishes } from '../endpoints/line-options.ts'
import type { SerialOptions } from '../endpoints/serial-options.ts'
import { watchLines } from './alerts.ts'
import { controlledChannel, type Hearing } from './controlled.ts'
import type { LogSettings } from './line-log.ts'
import { openPort, type PortOptions } from './open-port.ts'
import type { SerialPort } from './port.ts'
import { attachShared, keepShared } from './shared.ts'
import { type Attachment, type SharedPortOptions, type SharedView, sharedPort } from './shared-port.ts'
import { forSoLong } from './time-limit.ts'
import { viewControl } from './view-control.ts'
import { inLine } from './waiting-line.ts'

export interface PortTarget {
  readonly scope: Address
  readonly path: string
  readonly options: SerialOptions
  /** What the address says of the line, in its own words. */
  readonly settings: string
}

/** Whether the address shares its port, by saying so or by what it does with nobody there. */
function isShared({ share, watch, takeOver, log, alert }: SerialOptions): boolean {
  return Boolean(share || watch || takeOver || log !== undefined || alert)
}

/** Rejects with a RelayError that names the port. */
export async function dialPort(target: PortTarget, cx: OpenContext): Promise<Channel> {
  const { scope, path, options } = target
  const { wait = 0, for: lasts } = options
  const client = whoIs(cx)
  let warn: (text: string) => void = () => {}
  const channel = await inLine(path, wait, cx.signal, () =>
    // Of who has waited the time begins now.
    openAs(target, `${client}${untilText(lasts)}`, cx, view => {
      warn = text => view.tell(text)
    }),
  )
  return lasts === undefined ? channel : forSoLong(channel, lasts, scope.text, text => warn(text))
}

function untilText(lasts: number | undefined): string {
  return lasts === undefined ? '' : ` (until ${new Date(Date.now() + lasts).toISOString().slice(0, 19)}Z)`
}

/** `opened` gets the view of who has one. */
async function openAs(
  target: PortTarget,
  who: string,
  cx: OpenContext,
  opened: (view: SharedView) => void,
): Promise<Channel> {
  const { scope, path, options, settings } = target
  const port = portOptions(options, who)
  const about = { subject: scope.text, ...(cx.connectionId && { connectionId: cx.connectionId }) }
  const attach = async (hearing?: Hearing) => {
    const shared = sharedOptions(target, port)
    const wish: Attachment = {
      ...attachment(options, who),
      ...hearing,
      tookOver(former) {
        const text = `${who} took the writing from ${former}`
        cx.remark?.({ ...about, event: 'serial.taken-over', text })
      },
    }
    const view = await (isShared(options)
      ? attachShared(shared, settings, wish, cx)
      : openAlone(shared, wish, cx))
    opened(view)
    return view
  }
  if (options.rfc2217) return controlledChannel(target, attach, cx)
  const { charDelay, lineDelay, send, replug } = options
  const isPlain = charDelay === undefined && lineDelay === undefined && send === undefined && !replug
  if (isPlain && !isShared(options)) return portChannel(await openPort(path, port, cx), scope)
  return viewChannel(await attach(), scope)
}

const ofRelay = ({ relay }: OpenContext): string => (relay === undefined ? '' : ` of relay/${relay}`)

/** As others are told who want the port too. An operator's own tunnel says by itself whose it is. */
const whoIs = (cx: OpenContext): string =>
  cx.client ? `${cx.client.text}${ofRelay(cx)}` : cx.relay === undefined ? 'this relay' : `relay/${cx.relay}`

/** Keeps the port of a log, or of an alert, open. */
export function attendPort(target: PortTarget, cx: OpenContext): Promise<AsyncDisposable> {
  const { options, settings, scope } = target
  const { alert: pattern } = options
  const raise = (text: string) => cx.remark?.({ event: 'serial.alert', subject: scope.text, text })
  const gaveUp = () =>
    raise(`\`${pattern?.source}\` takes too long to look for, and is not looked for any more`)
  const look = pattern && watchLines({ pattern, raised: raise, gaveUp })
  const holder = `${options.log === undefined ? 'an alert' : 'the log'}${ofRelay(cx)}`
  return keepShared(sharedOptions(target, portOptions(options, holder)), settings, cx, look)
}

/** The same machinery with one who has it all, and loses nothing. */
async function openAlone(
  options: SharedPortOptions,
  attachment: Attachment,
  cx: OpenContext,
): Promise<SharedView> {
  const port = sharedPort(options, cx, () => {})
  port.enter()
  try {
    return await port.attach(attachment)
  } finally {
    await port.leave()
  }
}

function portOptions(options: SerialOptions, holder: string): PortOptions {
  const { endAfter, watch } = options
  return {
    holder,
    ...lineWishes(options),
    terminal: options,
    ...(endAfter !== undefined && { endAfterMs: endAfter }),
    ...(watch && { watch }),
  }
}

function sharedOptions({ path, options }: PortTarget, port: PortOptions): SharedPortOptions {
  const { log, logSize, logKeep, send, charDelay, lineDelay, replug } = options
  const shared = isShared(options)
  const logged: LogSettings | undefined =
    log === undefined ? undefined : { path: log, maxBytes: logSize, keep: logKeep }
  return {
    path,
    port,
    shared,
    returns: shared || Boolean(replug),
    pacing: { charMs: charDelay, lineMs: lineDelay },
    greeting: send === undefined ? undefined : Buffer.from(send, 'latin1'),
    log: logged,
  }
}

function attachment(options: SerialOptions, who: string): Attachment {
  const { watch, takeOver, join, replay, notices, endAfter } = options
  return {
    who,
    mode: watch ? 'watch' : takeOver ? 'take-over' : 'write',
    joins: join,
    replayBytes: replay,
    notices,
    endAfterMs: endAfter,
  }
}

function portChannel(port: SerialPort, { text }: Address): Channel {
  return {
    stream: port.stream,
    ...(port.lender && { lender: port.lender }),
    framing: 'stream',
    peer: { text },
    serial: port,
    abort: () => void port.stream.destroy(),
    [Symbol.asyncDispose]: () => Promise.resolve(port[Symbol.asyncDispose]()),
  }
}

function viewChannel(view: SharedView, { text, args: [path = ''] }: Address): Channel {
  return {
    stream: view.stream,
    framing: 'stream',
    peer: { text },
    serial: viewControl(view, path),
    abort: () => view.abort(),
    [Symbol.asyncDispose]: () => Promise.resolve(view[Symbol.asyncDispose]()),
  }
}

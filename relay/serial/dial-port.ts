import type { Address } from '../address.ts'
import type { Channel, OpenContext } from '../endpoint.ts'
import { lineWishes } from '../endpoints/line-options.ts'
import type { SerialOptions } from '../endpoints/serial-options.ts'
import { controlledChannel, type Hearing } from './controlled.ts'
import type { LogSettings } from './line-log.ts'
import { openPort, type PortOptions } from './open-port.ts'
import type { SerialPort } from './port.ts'
import { attachShared, keepShared } from './shared.ts'
import { type Attachment, type SharedPortOptions, type SharedView, sharedPort } from './shared-port.ts'
import { viewControl } from './view-control.ts'

export interface PortTarget {
  readonly scope: Address
  readonly path: string
  readonly options: SerialOptions
  /** What the address says of the line, in its own words. */
  readonly settings: string
}

/** Whether the address shares its port, alone or by its log. */
function isShared({ share, watch, takeOver, log }: SerialOptions): boolean {
  return Boolean(share || watch || takeOver || log !== undefined)
}

/** Rejects with a RelayError that names the port. */
export async function dialPort(target: PortTarget, cx: OpenContext): Promise<Channel> {
  const { scope, path, options, settings } = target
  const who = cx.client?.text ?? 'this relay'
  const port = portOptions(options, who)
  const attach = (hearing?: Hearing) => {
    const shared = sharedOptions(target, port)
    const wish = { ...attachment(options, who), ...hearing }
    return isShared(options) ? attachShared(shared, settings, wish, cx) : openAlone(shared, wish, cx)
  }
  if (options.rfc2217) return controlledChannel(target, attach, cx)
  const { charDelay, lineDelay, send, replug } = options
  const isPlain = charDelay === undefined && lineDelay === undefined && send === undefined && !replug
  if (isPlain && !isShared(options)) return portChannel(await openPort(path, port, cx), scope)
  return viewChannel(await attach(), scope)
}

/** Keeps the port of a log open. */
export function attendPort(target: PortTarget, cx: OpenContext): Promise<AsyncDisposable> {
  const { options, settings } = target
  return keepShared(sharedOptions(target, portOptions(options, 'a log')), settings, cx)
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
  const { watch, takeOver, replay, notices, endAfter } = options
  return {
    who,
    mode: watch ? 'watch' : takeOver ? 'take-over' : 'write',
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

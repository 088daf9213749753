import { realpath } from 'node:fs/promises'
import type { Address } from '../address.ts'
import type { OpenContext } from '../endpoint.ts'
import { checkLanding } from '../endpoints/landing.ts'
import type { LogSettings } from './line-log.ts'
import { notShared } from './not-shared.ts'
import { portScope } from './port-scope.ts'
import { rdevOf } from './rdev.ts'
import {
  type Attachment,
  type SharedPort,
  type SharedPortOptions,
  type SharedView,
  sharedElsewhere,
  sharedPort,
} from './shared-port.ts'

interface Entry {
  /** All paths by which it was asked for. */
  readonly names: Set<string>
  /** The settings of the address that opened it, as they were written. */
  readonly settings: string
  readonly port: SharedPort
  readonly log?: LogSettings | undefined
}

/** The ports of this process that are shared. */
const entries = new Set<Entry>()

const leastRemembered = 64 * 1_024

/**
 * One of those who have the port, which is opened for the first of them. `settings` is what the address says of the line;
 * who says nothing takes it as it is. Rejects with a RelayError, also when others have it with other settings, or nobody has
 * it whom he could join.
 */
export async function attachShared(
  options: SharedPortOptions,
  settings: string,
  attachment: Attachment,
  cx: OpenContext,
): Promise<SharedView> {
  const { mode, joins } = attachment
  const port = await enterShared(options, settings, { watch: mode === 'watch', joins }, cx)
  try {
    port.remember(Math.max(attachment.replayBytes ?? 0, leastRemembered))
    return await port.attach(attachment)
  } finally {
    await port.leave()
  }
}

/** Keeps the port open, and its log going, with nobody there. The device may come later. `look` sees all that it says. */
export async function keepShared(
  options: SharedPortOptions,
  settings: string,
  cx: OpenContext,
  look: (bytes: Buffer) => void = () => {},
): Promise<AsyncDisposable> {
  const port = await enterShared(options, settings, { watch: true }, cx)
  const stopLooking = port.look(look)
  let left: Promise<void> | undefined
  const leave = () => {
    stopLooking()
    left ??= port.leave()
    return left
  }
  try {
    port.remember(leastRemembered)
    await port.begin()
  } catch (error) {
    await leave()
    throw error
  }
  return { [Symbol.asyncDispose]: leave }
}

/** Where the log of a port is that is kept open for it. `real` is where the links of its path lead. */
export function keptLog(path: string, real: string): LogSettings | undefined {
  return find(path, real)?.log
}

/** Where the links of a path lead, if the ceiling agrees. The path itself, while there is nothing. */
export async function placeOf(scope: Address, cx: Pick<OpenContext, 'egress'>): Promise<string> {
  const path = scope.args[0]!
  const real = await realpath(path).catch(() => path)
  checkLanding(scope, real, cx)
  return real
}

async function enterShared(
  options: SharedPortOptions,
  settings: string,
  { watch, joins }: { readonly watch: boolean; readonly joins?: boolean | undefined },
  cx: OpenContext,
): Promise<SharedPort> {
  const { path } = options
  const scope = portScope(path, { watch })
  cx.egress.check(scope)
  // Who finds it open does not open it, and is asked all the same where his links lead.
  const real = await placeOf(scope, cx)
  for (;;) {
    const found = find(path, real)
    if (!found && joins) throw await notShared(path, scope.text)
    const { port, names, settings: theirs } = found ?? make(options, settings, cx)
    if (settings !== '' && settings !== theirs) throw sharedElsewhere(portScope(path).text, port.present)
    names.add(path)
    if (port.enter()) return port
    await port.closing
  }
}

function find(path: string, real: string): Entry | undefined {
  const rdev = rdevOf(real)
  return [...entries].find(({ names, port }) => {
    const { path: now } = port.port ?? {}
    return now === undefined ? names.has(path) : rdev !== undefined && rdevOf(now) === rdev
  })
}

function make(options: SharedPortOptions, settings: string, cx: OpenContext): Entry {
  // It outlives whoever has opened it.
  const lasting = { egress: cx.egress, signal: new AbortController().signal }
  const port = sharedPort(options, lasting, () => void entries.delete(entry))
  const entry: Entry = { names: new Set([options.path]), settings, port, log: options.log }
  entries.add(entry)
  return entry
}

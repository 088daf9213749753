import type { Duplex } from 'node:stream'
import type { OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { lineHealth } from './line-health.ts'
import { type LineLog, type LogSettings, openLineLog } from './line-log.ts'
import { type Member, openMembers, type SharedMode } from './members.ts'
import type { PortOptions } from './open-port.ts'
import { type Pacing, writePaced } from './pacing.ts'
import { pluggedDevice } from './plugged.ts'
import type { LineSettings, SerialPort } from './port.ts'
import { defaultEndAfterMs } from './quiet-end.ts'
import { replayBuffer } from './replay-buffer.ts'
import type { Presence } from './standing.ts'
import { openView } from './view.ts'

export interface SharedPortOptions {
  readonly path: string
  readonly port: PortOptions
  /** Several may have it: one writes, all others watch. Without it there is one, who loses nothing. */
  readonly shared: boolean
  /** After the device has gone, wait for it, with all who are there. */
  readonly returns: boolean
  readonly pacing?: Pacing
  /** Written whenever the device has been opened. */
  readonly greeting?: Buffer | undefined
  readonly log?: LogSettings | undefined
  /** Where names of devices are looked up. */
  readonly root?: string | undefined
}

export interface Attachment {
  /** As the others are told: `203.0.113.7:51234`. */
  readonly who: string
  readonly mode: SharedMode
  /** Only if others have it: it is not opened for this one. */
  readonly joins?: boolean | undefined
  /** So many of the last bytes come first. */
  readonly replayBytes?: number | undefined
  /** Notices of fleetcat come among the bytes; they do if absent. */
  readonly notices?: boolean | undefined
  /** Hears them, in place of what is among the bytes. */
  readonly told?: ((text: string) => void) | undefined
  /** Somebody has come or gone, or writes now, or the device has. Must not throw. */
  readonly changed?: (() => void) | undefined
  readonly endAfterMs?: number | undefined
  /** It has taken the writing from whoever wrote before. Must not throw. */
  readonly tookOver?: ((former: string) => void) | undefined
}

/** One of those who share a port. Disposal leaves it; the last one closes the device. */
export interface SharedView extends AsyncDisposable {
  readonly stream: Duplex
  readonly writes: boolean
  /** The device, for whoever writes, while it is there. */
  readonly port: SerialPort | undefined
  /** The device, while it is there, for whoever only looks how it is. */
  readonly seen: SerialPort | undefined
  /** All who have it, in the order in which they came. */
  readonly present: readonly Presence[]
  /** Sets the line, for who writes; all are told. Rejects with a RelayError. */
  set(line: LineSettings): Promise<Required<LineSettings>>
  takeOver(): void
  /** Tells it something, as the port does. */
  tell(text: string): void
  /** Leaves at once. What it has written and the device does not have yet is forgotten. */
  abort(): void
}

export interface SharedPort {
  /** Keeps it from closing while somebody is about to come, without opening anything. False: it closes already. */
  enter(): boolean
  /** The opposite, when that is over. */
  leave(): Promise<void>
  /** Rejects with a RelayError when the device cannot be opened. For whoever has entered. */
  attach(attachment: Attachment): Promise<SharedView>
  /** Opens it with nobody there, or waits for the device if it is away; open until who has entered leaves. */
  begin(): Promise<void>
  /** Resolves when it has closed, if it is about to. */
  readonly closing: Promise<void> | undefined
  /** Who is there, in the order in which they came. */
  readonly present: readonly { readonly who: string; readonly writes: boolean }[]
  /** Shows it all that the device says from now on. Answers how to stop. */
  look(at: (bytes: Buffer) => void): () => void
  /** At least so many of the last bytes are kept from now on. */
  remember(bytes: number): void
  readonly port: SerialPort | undefined
}

/** Bytes that may wait for one reader. */
const limitBytes = 256 * 1_024

/** What keeps a device from being opened now and not for ever. */
const canPass: ReadonlySet<string> = new Set(['not-found', 'conflict', 'reset', 'closed'])

/** `empty` is called when the last one has left, and the device is closed. */
export function sharedPort(options: SharedPortOptions, cx: OpenContext, empty: () => void): SharedPort {
  const { path, shared, pacing = {}, greeting, returns } = options
  const closing = new AbortController()
  const replay = replayBuffer()
  const looking = new Set<(bytes: Buffer) => void>()
  const members = openMembers(text => log?.note(text))
  /** Who is about to come, or keeps it open. */
  let entered = 0
  let log: LineLog | undefined
  /** How the line was before somebody who writes has set it otherwise, what has been set since, and by whom. */
  let before: Required<LineSettings> | undefined
  let since: LineSettings = {}
  const setters = new Set<Member>()
  let closed: Promise<void> | undefined
  /** Opening is one act: two who come at once get the same. */
  let turn: Promise<unknown> = Promise.resolve()
  const inTurn = <T>(act: () => Promise<T>): Promise<T> => {
    const next = turn.then(act)
    turn = next.catch(() => {})
    return next
  }

  const received = (bytes: Buffer) => {
    replay.add(bytes)
    log?.add(bytes)
    for (const look of looking) look(bytes)
    health.take(bytes)
    let full = false
    for (const { view } of members.all) full = view.give(bytes) || full
    // Alone, whoever reads sets the pace; with others each loses what is too much for him.
    if (full && !shared) device.port?.stream.pause()
  }
  const health = lineHealth({
    counters: async () => await device.port?.counters(),
    suspected(text) {
      log?.note(text)
      for (const { view } of members.all) view.hint(text)
    },
  })
  /** As others are told who want it too. */
  const holders = () =>
    members.all
      .map(member => `${member.who}${shared && member !== members.writer ? ', watching' : ''}`)
      .join('; ') || options.port.holder
  const port: PortOptions = { ...options.port, holders }
  const device = pluggedDevice({ path, port, returns, root: options.root }, cx, {
    opened(port, again) {
      port.stream.on('data', received)
      health.begin()
      if (again) members.tellAll(`the port is there again${port.path === path ? '' : `, as ${port.path}`}`)
      if (before) void setAgain(port)
      if (greeting) void send(port, greeting, () => true)
      members.changed()
    },
    gone(error, willWait) {
      if (willWait) {
        members.tellAll('the port has gone; waiting for it')
        return members.changed()
      }
      for (const { view } of [...members.all]) view.stream.destroy(error)
    },
  })
  const send = ({ stream }: SerialPort, bytes: Buffer, wanted: () => boolean): Promise<void> => {
    const write = async (part: Buffer) => {
      if (stream.destroyed || !wanted()) return false
      await written(stream, part)
      return !stream.destroyed && wanted()
    }
    return writePaced(bytes, pacing, write, closing.signal)
  }
  const write = async (member: Member, bytes: Buffer) => {
    const isWriter = () => member === members.writer && !member.view.stream.destroyed
    if (!isWriter()) members.refuse(member)
    // While the device is away what is typed goes nowhere: it was meant for how things were.
    else if (device.port) await send(device.port, bytes, isWriter)
  }
  const openLog = async () => {
    if (!options.log || log) return
    log = await openLineLog(options.log, cx.egress, error => {
      for (const { view } of members.all) view.tell(`the log cannot be written: ${error.message}`)
    })
  }
  const closeIfEmpty = async () => {
    if (members.all.length > 0 || entered > 0) return
    closed ??= (async () => {
      closing.abort()
      health[Symbol.dispose]()
      try {
        await device[Symbol.asyncDispose]()
        await log?.[Symbol.asyncDispose]()
      } finally {
        empty()
      }
    })()
    await closed
  }

  /** What was set of a device that went is meant for the one that has come. */
  const setAgain = async (port: SerialPort) => {
    before = { ...port.settings }
    await port.set(since).then(members.changed, () => {})
  }
  /**
   * A port that is kept is set as its log wants it, but for as long as somebody is there who has set it otherwise. Of
   * another, whoever writes next goes on with the line that he found. Closing the device sets it back by itself.
   */
  const giveBack = (member: Member) => {
    setters.delete(member)
    const isClosing = members.all.length === 0 && entered === 0
    const isOver = options.log ? setters.size === 0 : !members.writer
    if (!isOver || isClosing || !before) return
    const was = before
    before = undefined
    since = {}
    void device.port?.set(was).then(members.changed, () => {})
  }

  const attach = async (attachment: Attachment): Promise<SharedView> => {
    const { who, mode, replayBytes = 0, notices = shared, endAfterMs = defaultEndAfterMs } = attachment
    const { told, changed, tookOver } = attachment
    await openLog()
    // One that is waited for is there as far as anybody who comes is concerned.
    if (!device.awaited) await device.open()
    const left = Promise.withResolvers<void>()
    const view = openView({
      limitBytes,
      mayLose: shared,
      room: () => void device.port?.stream.resume(),
      notices,
      told,
      endAfterMs: mode === 'watch' ? undefined : endAfterMs,
      written: bytes => write(member, bytes),
      closed() {
        members.leave(member)
        giveBack(member)
        device.port?.stream.resume()
        void closeIfEmpty().then(left.resolve, left.resolve)
      },
    })
    const member: Member = { who, mode, view, changed, tookOver }
    if (replayBytes > 0) view.give(replay.last(replayBytes))
    members.join(member)
    if (!device.port) view.tell('the port is not there; waiting for it')
    let forgotten: Promise<void> | undefined
    return {
      stream: view.stream,
      get writes() {
        return members.writer === member
      },
      get port() {
        return members.writer === member ? device.port : undefined
      },
      get seen() {
        return device.port
      },
      get present() {
        return members.all.map(each => ({
          who: each.who,
          writes: each === members.writer,
          you: each === member,
        }))
      },
      async set(line) {
        const isWriter = members.writer === member
        if (!device.port || !isWriter) {
          const why = isWriter ? 'the device is not there' : 'only who writes sets the line'
          throw new RelayError('denied', { what: path, why })
        }
        before ??= { ...device.port.settings }
        since = { ...since, ...line }
        setters.add(member)
        const now = await device.port.set(line)
        health.begin()
        members.changed()
        return now
      },
      takeOver: () => members.takeOver(member),
      tell: text => view.tell(text),
      abort() {
        const port = members.writer === member ? device.port : undefined
        view.stream.destroy()
        // Nothing that was taken back may still be sent, and others go on with the device.
        forgotten ??= port?.purge('tx').catch(() => {})
      },
      async [Symbol.asyncDispose]() {
        view.stream.destroy()
        await forgotten
        await left.promise
      },
    }
  }

  return {
    get port() {
      return device.port
    },
    get present() {
      return members.all.map(member => ({ who: member.who, writes: member === members.writer }))
    },
    get closing() {
      return closed
    },
    look(at) {
      looking.add(at)
      return () => void looking.delete(at)
    },
    remember: bytes => replay.grow(bytes),
    enter() {
      if (!closed) entered++
      return !closed
    },
    async leave() {
      entered--
      await closeIfEmpty()
    },
    begin: () =>
      inTurn(async () => {
        await openLog()
        await device.open().catch(thrown => {
          if (!canPass.has(RelayError.from(thrown, path).code)) throw thrown
          device.await()
        })
      }),
    attach: attachment => inTurn(() => attach(attachment)),
  }
}

/** Resolves when the stream has taken it, or has gone. */
function written(stream: Duplex, bytes: Buffer): Promise<void> {
  return new Promise(resolve => stream.write(bytes, () => resolve()))
}

export function sharedElsewhere(what: string, present: SharedPort['present']): RelayError {
  const users = present.map(({ who }) => who).join(', ') || 'a log'
  return new RelayError('conflict', {
    what,
    why: `it is shared by ${users}, with other settings`,
    fix: 'Write the same settings in all addresses of the port, or in one of them only',
  })
}

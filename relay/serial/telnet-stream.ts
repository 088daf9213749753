import { Duplex } from 'node:stream'
import { type Negotiation, type NegotiationParts, negotiation, type Side } from './negotiation.ts'
import { endWhenQuiet } from './quiet-end.ts'
import { escaped, lineEndWriter, telnetOptions, telnetParser } from './telnet.ts'

/** What is made of what a telnet peer says beside its data. */
export interface TelnetParts extends Pick<NegotiationParts, 'allowed'> {
  settled?(side: Side, option: number, on: boolean): void
  /** What comes after it waits for the promise. */
  command?(code: number): Promise<void> | void
  /** What comes after it waits for the promise. */
  subnegotiation(option: number, payload: Buffer): Promise<void> | void
  /** More data has come than is wanted for now; or it is wanted again. */
  full?(isFull: boolean): void
  /** What was said to the peer has gone on its way, after there was too much of it. */
  caughtUp?(): void
  closed?(): void
  /** The end of writing is not told the peer; so much silence after it is the end of reading. It is told if absent. */
  readonly endAfterMs?: number
}

/** The data of a telnet conversation, and a way to say what is none. */
export interface TelnetStream extends Pick<Negotiation, 'wish' | 'isOn'> {
  /** Its data, both ways. */
  readonly stream: Duplex
  /** Hears the peer from now on; a reader of `stream` begins that too. */
  begin(): void
  /** Says something that is no data. */
  say(bytes: Buffer): void
  /** The peer takes nothing in. What need not be said is better left out. */
  readonly isStuck: boolean
  /** Sends no data, or goes on with it. */
  hold(on: boolean): void
  /** Forgets data of the peer that nobody has read yet. */
  forgetRead(): void
  /** Forgets data for the peer that is held. */
  forgetHeld(): void
}

/**
 * So much is read ahead of whoever reads the data, and then the peer is asked to wait. It is heard as long as it does, or
 * until there is as much again: what it says behind its data may be what sets a stuck line free.
 */
const lookAhead = 65_536

type Done = (error?: Error | null) => void

/** Speaks telnet over `inner`, which nobody else uses. Its errors are those of `stream`. */
export function telnetStream(inner: Duplex, parts: TelnetParts): TelnetStream {
  /** What has been heard and waits for what came before it. */
  const heard: (Buffer | (() => Promise<void> | void))[] = []
  let heardBytes = 0
  let begun = false
  let busy = false
  let ended = false
  let full = false
  let held: { readonly chunk: Buffer; readonly done: Done } | undefined
  let isHeld = false
  const withLineEnds = lineEndWriter()

  const send = (bytes: Buffer) => {
    if (!inner.writableEnded && !inner.destroyed) inner.write(bytes)
  }
  const options = negotiation({
    allowed: parts.allowed,
    send,
    settled(side, option, on) {
      if (side === 'them' && option === telnetOptions.binary) parser.binary = on
      parts.settled?.(side, option, on)
    },
  })
  const parser = telnetParser({
    data(bytes) {
      heard.push(bytes)
      heardBytes += bytes.length
    },
    command: code => heard.push(() => parts.command?.(code)),
    // At once: it says how the bytes behind it are meant.
    option: options.heard,
    subnegotiation: (option, payload) => heard.push(() => parts.subnegotiation(option, payload)),
  })

  const setFull = (isFull: boolean) => {
    if (full === isFull) return
    full = isFull
    parts.full?.(isFull)
  }
  const isStuck = () => inner.writableNeedDrain
  const work = () => {
    while (!busy && heard.length > 0 && !stream.destroyed) {
      const next = heard.shift()!
      if (typeof next === 'function') {
        const done = next()
        if (!done) continue
        busy = true
        void done.finally(() => {
          busy = false
          work()
          readOn()
        })
      } else {
        heardBytes -= next.length
        quiet?.heard()
        if (!stream.push(next)) setFull(true)
      }
    }
    if (ended && !busy && heard.length === 0 && !stream.readableEnded) stream.push(null)
  }
  /** Who says much and hears nothing is heard no more either. */
  const readOn = () => {
    if (ended || inner.destroyed) return
    const ahead = stream.readableLength + heardBytes
    if (ahead > 2 * lookAhead || isStuck() || heard.length > 1_024) inner.pause()
    else inner.resume()
  }
  const begin = () => {
    if (begun) return
    begun = true
    inner.on('data', (chunk: Buffer) => {
      // Many words at a time get their answers in one piece.
      inner.cork()
      parser.take(chunk)
      work()
      inner.uncork()
      readOn()
    })
    inner.on('end', () => {
      ended = true
      work()
    })
    if (inner.readableEnded) ended = true
    work()
    readOn()
  }
  const write = (chunk: Buffer, done: Done) => {
    const isBinary = options.isOn('us', telnetOptions.binary)
    const bytes = escaped(isBinary ? chunk : withLineEnds(chunk))
    if (bytes.length === 0) done()
    else inner.write(bytes, done)
  }
  const letGo = (act: (chunk: Buffer, done: Done) => void) => {
    const waiting = held
    held = undefined
    if (waiting) act(waiting.chunk, waiting.done)
  }

  const stream = new Duplex({
    allowHalfOpen: true,
    readableHighWaterMark: lookAhead,
    read() {
      setFull(false)
      begin()
      readOn()
    },
    write(chunk: Buffer, _encoding, done) {
      if (isHeld) held = { chunk, done }
      else write(chunk, done)
    },
    final(done) {
      if (!quiet) return void inner.end(done)
      done()
      quiet.begin()
    },
    destroy(error, done) {
      quiet?.stop()
      heard.length = 0
      held = undefined
      parts.closed?.()
      done(error)
    },
  })
  const quiet = parts.endAfterMs === undefined ? undefined : endWhenQuiet(stream, parts.endAfterMs)
  // Between pumps nobody may be listening, and an error that nobody hears ends the process.
  stream.on('error', () => {})
  inner.on('drain', () => {
    parts.caughtUp?.()
    readOn()
  })
  inner.on('error', error => stream.destroy(error))
  inner.on('close', () => {
    // What has been heard and not been read yet is still to be had.
    if (ended && !stream.readableEnded && !stream.destroyed) stream.once('end', () => stream.destroy())
    else stream.destroy()
  })
  if (inner.errored) stream.destroy(inner.errored)
  else if (inner.destroyed) stream.destroy()

  return {
    stream,
    begin,
    say: send,
    get isStuck() {
      return isStuck()
    },
    hold(on) {
      isHeld = on
      if (!on) letGo(write)
    },
    forgetRead() {
      // Taking bytes out of a stream hands them to its listeners, who must not see these.
      const listeners = stream.rawListeners('data') as ((chunk: Buffer) => void)[]
      for (const listener of listeners) stream.off('data', listener)
      while (stream.read() !== null);
      for (const listener of listeners) stream.on('data', listener)
    },
    forgetHeld: () => letGo((_chunk, done) => done()),
    wish: options.wish,
    isOn: options.isOn,
  }
}

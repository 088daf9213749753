import type { Duplex } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import { RelayError } from '#relay/errors.ts'
import { readAnswer, wishBytes } from '#relay/serial/companion.ts'
import type { LineCounters, LineSettings, ModemLines } from '#relay/serial/port.ts'
import {
  type ComPortMessage,
  type ComPortNumber,
  comPortBytes,
  control,
  flowOf,
  flowValues,
  modemLinesOf,
  readComPort,
  settingOf,
  settingValues,
  topicOf,
} from '#relay/serial/rfc2217/codec.ts'
import { usualBreakMs } from '#relay/serial/send-break.ts'
import type { Standing } from '#relay/serial/standing.ts'
import { telnetOptions } from '#relay/serial/telnet.ts'
import { telnetChannel } from '#relay/serial/telnet-channel.ts'
import type { Tunnels } from '../tunnels.ts'

/** Told of what comes from a port on another host. Must not throw. */
export interface RemotePortEvents {
  /** Nothing more is read before it resolves. */
  readonly received: (bytes: Buffer) => Promise<void> | void
  /** What fleetcat says there: that the device has gone, that somebody else writes now. */
  readonly told: (text: string) => void
  /** Once, when it is over: with the reason, or because the far side has ended it. */
  readonly over: (why: RelayError) => void
}

/** One connection with a port on another host. */
export interface RemotePort extends AsyncDisposable {
  /** Whether this connection writes, whether the device is there, how its line is set. */
  readonly standing: Standing
  /** Resolves when more may be written. What a watcher writes goes nowhere. */
  write(bytes: Buffer): Promise<void>
  /** No more will be written: the far side ends when the line has been silent for a while. */
  end(): void
  /** Asks for such a line, and answers what the device then has of it. Stays behind what was written before. */
  set(line: LineSettings): Promise<LineSettings>
  /** How the control lines are now. */
  control(): Promise<{ readonly dtr: boolean; readonly rts: boolean }>
  /** False: they are as they were, for the device has no such lines. */
  setControl(lines: { readonly dtr?: boolean; readonly rts?: boolean }): Promise<boolean>
  /** Resolves when it is over. False: the device cannot send one. */
  sendBreak(): Promise<boolean>
  /** What the wires say, as far as the device has any. */
  modem(): Promise<ModemLines>
  /** What the device has counted of errors on its line; undefined: it counts none. */
  errors(): Promise<LineCounters | undefined>
  /** Looks anew. */
  who(): Promise<Standing>
  /** Rejects with a RelayError `denied` where this connection may only watch. */
  takeOver(): Promise<Standing>
}

const { binary, suppressGoAhead, comPort } = telnetOptions
const answerMs = 10_000

type Heard = { readonly topic: string; readonly value: unknown }

/** Resolves when the port is open and has said how it is. Rejects with a RelayError of the way, or of the port. */
export async function openRemotePort(
  address: string,
  tunnels: Tunnels,
  events: RemotePortEvents,
  signal: AbortSignal,
): Promise<RemotePort> {
  const waiting: { readonly topic: string; readonly answer: PromiseWithResolvers<unknown> }[] = []
  let standing: Standing | undefined
  let ending: RelayError | undefined
  /** What goes out keeps its order, bytes and all else. */
  let last: Promise<unknown> = Promise.resolve()

  const inner = await tunnels.open(address, signal)
  const { telnet, channel } = telnetChannel(inner, {
    allowed: { us: [binary, suppressGoAhead, comPort], them: [binary, suppressGoAhead, comPort] },
    subnegotiation(option, payload) {
      if (option !== comPort) return
      const answer = readAnswer(payload)
      if (answer) return heardCompanion(answer)
      const message = readComPort(payload, 'server')
      if (message) heardStandard(message)
    },
  })
  const { stream } = channel

  const heardCompanion = (answer: NonNullable<ReturnType<typeof readAnswer>>) => {
    if (answer.topic === 'told') return events.told(answer.text)
    if (answer.topic === 'errors') return settle({ topic: answer.topic, value: answer.counts })
    if ('standing' in answer) standing = answer.standing
    settle({ topic: answer.topic, value: 'refused' in answer ? answer.refused : answer.standing })
  }
  const heardStandard = (message: ComPortMessage) => {
    if (message.name === 'suspend' || message.name === 'resume') telnet.hold(message.name === 'suspend')
    else if ('value' in message)
      settle({ topic: topicFor(message.name, message.value), value: message.value })
  }
  /** Answers come in the order of the questions; what nobody has asked is news. */
  const settle = ({ topic, value }: Heard) => {
    const at = waiting.findIndex(each => each.topic === topic)
    if (at >= 0) waiting.splice(at, 1)[0]!.answer.resolve(value)
  }
  const over = (why: RelayError) => {
    if (ending) return
    ending = why
    for (const { answer } of waiting.splice(0)) answer.reject(why)
    events.over(why)
  }
  const inTurn = <T>(act: () => Promise<T> | T): Promise<T> => {
    const next = last.then(act)
    last = next.catch(() => {})
    return next
  }
  /** Says it behind all that was written before, and answers what comes back. */
  const ask = async (topic: string, bytes: Buffer): Promise<unknown> => {
    if (ending) throw ending
    const answer = Promise.withResolvers<unknown>()
    answer.promise.catch(() => {})
    const entry = { topic, answer }
    await inTurn(() => {
      waiting.push(entry)
      telnet.say(bytes)
    })
    const patience = setTimeout(() => {
      const at = waiting.indexOf(entry)
      if (at >= 0) waiting.splice(at, 1)
      answer.reject(new RelayError('timed-out', { what: address, why: 'the far side does not answer' }))
    }, answerMs)
    const value = await answer.promise.finally(() => clearTimeout(patience))
    if (value instanceof RelayError) throw value
    return value
  }
  const askNumber = async (name: ComPortNumber, value: number): Promise<number> => {
    const answered = await ask(topicFor(name, value), comPortBytes({ name, value }, 'client'))
    return typeof answered === 'number' ? answered : 0
  }
  const greet = () => ask('hello', wishBytes('hello')) as Promise<Standing>

  stream.on('error', thrown => over(RelayError.from(thrown, address)))
  const closed = () => over(new RelayError('closed', { what: address, why: 'the far side has ended it' }))
  stream.once('close', closed)
  void (async () => {
    try {
      for await (const bytes of stream) await events.received(bytes)
      closed()
    } catch {
      // Its listeners have been told.
    }
  })()
  for (const option of [binary, suppressGoAhead, comPort]) {
    telnet.wish('us', option)
    telnet.wish('them', option)
  }
  telnet.begin()
  try {
    standing = await greet()
  } catch (thrown) {
    await channel[Symbol.asyncDispose]()
    throw thrown
  }

  return {
    get standing() {
      return standing!
    },
    write: bytes =>
      inTurn(() => {
        if (stream.destroyed || stream.writableEnded) return
        return written(stream, bytes)
      }),
    end: () => void inTurn(() => void stream.end()),
    async set({ baud, data, parity, stop, flow }) {
      const now: { -readonly [K in keyof LineSettings]: LineSettings[K] } = {}
      if (baud !== undefined) now.baud = await askNumber('baud', baud)
      for (const [name, wanted] of Object.entries({ data, parity, stop })) {
        if (wanted === undefined) continue
        const key = name as keyof typeof settingValues
        const value = (settingValues[key] as Record<string, number>)[String(wanted)]!
        Object.assign(now, { [key]: settingOf(key, await askNumber(key, value)) })
      }
      if (flow !== undefined) {
        const has = flowOf(await askNumber('control', flowValues.outbound[flow]))
        if (has) now.flow = has
      }
      return now
    },
    async control() {
      const dtr = (await askNumber('control', control.askDtr)) === control.dtrOn
      return { dtr, rts: (await askNumber('control', control.askRts)) === control.rtsOn }
    },
    async setControl({ dtr, rts }) {
      const wanted = [
        ...(dtr === undefined ? [] : [dtr ? control.dtrOn : control.dtrOff]),
        ...(rts === undefined ? [] : [rts ? control.rtsOn : control.rtsOff]),
      ]
      let done = true
      for (const value of wanted) done = (await askNumber('control', value)) === value && done
      return done
    },
    async sendBreak() {
      if ((await askNumber('control', control.breakOn)) !== control.breakOn) return false
      // Should the connection be lost meanwhile, the far side ends it.
      await pause(usualBreakMs)
      await askNumber('control', control.breakOff)
      return true
    },
    modem: async () => modemLinesOf(await askNumber('modem-state', 0)),
    errors: () => ask('errors', wishBytes('errors')) as Promise<LineCounters | undefined>,
    who: greet,
    takeOver: () => ask('takeOver', wishBytes('takeOver')) as Promise<Standing>,
    async [Symbol.asyncDispose]() {
      over(new RelayError('closed', { what: address, why: 'it is not needed any more' }))
      await channel[Symbol.asyncDispose]()
    },
  }
}

/** Several things are said under one name, and each is answered for itself. */
function topicFor(name: ComPortNumber, value: number | undefined): string {
  return name === 'control' ? `control/${topicOf(value ?? 0)}` : name
}

/** Resolves when the stream has taken it, or has gone: one that was told to wait may go without taking it. */
function written(stream: Duplex, bytes: Buffer): Promise<void> {
  return new Promise(resolve => {
    const done = () => {
      stream.off('close', done)
      resolve()
    }
    stream.once('close', done)
    stream.write(bytes, done)
  })
}

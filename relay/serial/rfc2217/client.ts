import type { Channel, OpenContext } from '../../endpoint.ts'
import { RelayError } from '../../errors.ts'
import { startTimer } from '../../timer.ts'
import type { SerialControl } from '../control.ts'
import { checkLine, differing } from '../line-settings.ts'
import { absentWires, type LineCounters, type LineSettings, type ModemLines } from '../port.ts'
import { telnetOptions } from '../telnet.ts'
import { telnetChannel } from '../telnet-channel.ts'
import {
  comPortBytes,
  control,
  flowOf,
  flowValues,
  lineBits,
  modemLinesOf,
  purgeValues,
  readComPort,
  settingOf,
  settingValues,
} from './codec.ts'
import { requests } from './requests.ts'

const { binary, echo, suppressGoAhead, comPort } = telnetOptions

export interface ClientOptions {
  /** What fails if it does: the address. */
  readonly what: string
  readonly withinMs: number
  /** How the line is to be. What is absent stays as it is there. */
  readonly settings?: LineSettings
  readonly control?: { readonly dtr?: boolean; readonly rts?: boolean }
  /**
   * The end of writing is not told the server, which would hang up at once; so much silence after it is the end of
   * reading. If absent, it is told.
   */
  readonly endAfterMs?: number | undefined
  /** The server is one of ours: it sets the line back by itself, and always tells of its wires. */
  readonly isOurs?: true
}

/** What nobody has told: the most usual. */
const usual: Required<LineSettings> = { baud: 9_600, data: 8, parity: 'none', stop: 1, flow: 'none' }

const counted = {
  frame: lineBits.framing,
  overrun: lineBits.overrun,
  parity: lineBits.parity,
  breaks: lineBits.break,
} as const satisfies Record<keyof LineCounters, number>

/** What nothing depends on is not waited for much longer than the rest: not every server has it. */
const wiresPatienceMs = 300

/** In the order in which they are set: stop bits depend on data bits. */
const order = ['baud', 'data', 'parity', 'stop', 'flow'] as const

/**
 * Reaches a serial port through a server of RFC 2217 on `inner`, whose line is then that of the channel. Rejects with a
 * RelayError, and has then disposed `inner`.
 */
export async function rfc2217Client(
  inner: Channel,
  options: ClientOptions,
  { signal }: Pick<OpenContext, 'signal'>,
): Promise<Channel> {
  const { what, settings: wanted = {}, endAfterMs } = options
  let settings = usual
  let wires: ModemLines | undefined
  let counts: LineCounters | undefined
  const listeners = new Set<(now: ModemLines, before: ModemLines) => void>()
  const agreed = Promise.withResolvers<void>()
  const wired = Promise.withResolvers<void>()

  const set = (news: LineSettings) => {
    settings = { ...settings, ...news }
  }
  const setIf = <K extends keyof LineSettings>(name: K, value: LineSettings[K] | undefined) => {
    if (value !== undefined) set({ [name]: value })
  }
  const heardModem = (state: number) => {
    const before = wires ?? absentWires
    wires = modemLinesOf(state)
    const now = wires
    wired.resolve()
    const isNews = (Object.keys(now) as (keyof ModemLines)[]).some(name => now[name] !== before[name])
    if (isNews) for (const listener of [...listeners]) listener(now, before)
  }
  const heardLine = (state: number) => {
    if (!counts) return
    const more = { ...counts }
    for (const [name, bit] of Object.entries(counted) as [keyof LineCounters, number][]) {
      if (state & bit) more[name]++
    }
    counts = more
  }
  const heard = (payload: Buffer) => {
    const message = readComPort(payload, 'server')
    if (!message || message.name === 'signature') return
    if (!('value' in message)) {
      telnet.hold(message.name === 'suspend')
      return
    }
    // Some servers leave the number out where it is the one that they were told.
    const { name, value = 0 } = message
    if (name === 'baud' && value > 0) set({ baud: value })
    if (name === 'data' || name === 'parity' || name === 'stop') setIf(name, settingOf(name, value))
    if (name === 'control') setIf('flow', flowOf(value))
    if (name === 'modem-state' && message.value !== undefined) heardModem(value)
    // In this very turn: the first errors may come right behind it.
    if (name === 'line-mask' && value > 0) counts ??= { frame: 0, overrun: 0, parity: 0, breaks: 0 }
    if (name === 'line-state') heardLine(value)
    asked.answered(name, value)
  }

  const { telnet, channel } = telnetChannel(inner, {
    allowed: {
      us: [binary, suppressGoAhead, comPort],
      them: [binary, echo, suppressGoAhead, comPort],
    },
    ...(endAfterMs !== undefined && { endAfterMs }),
    settled(side, option, on) {
      if (option !== comPort) return
      if (on) agreed.resolve()
      else if (side === 'us') {
        const why = 'its server speaks telnet, and does not let its line be set (RFC 2217)'
        agreed.reject(
          new RelayError('refused', { what, why, fix: 'Write `TCP:<host>:<port>` for its bytes' }),
        )
      }
    },
    subnegotiation(option, payload) {
      if (option === comPort) heard(payload)
    },
    closed() {
      const why = 'the conversation with its server is over'
      const error = new RelayError('closed', { what, why })
      agreed.reject(inner.stream.errored ? RelayError.from(inner.stream.errored, what) : error)
      asked.fail(error)
    },
  })
  const asked = requests(what, message => telnet.say(comPortBytes(message, 'client')))

  const codeOf = (name: keyof LineSettings, value: unknown): number => {
    if (name === 'baud') return Number(value)
    const values: Record<string, number> = name === 'flow' ? flowValues.outbound : settingValues[name]
    return values[String(value)]!
  }
  /** Sets these, or with `undefined` asks how they are. */
  const negotiate = (names: readonly (keyof LineSettings)[], line: LineSettings = {}) =>
    names.map(name => {
      const value = line[name] === undefined ? 0 : codeOf(name, line[name])
      return asked.ask(name === 'flow' ? 'control' : name, value)
    })
  const setLines = async (lines: { readonly dtr?: boolean; readonly rts?: boolean }) => {
    const { dtrOn, dtrOff, rtsOn, rtsOff } = control
    const values: number[] = []
    if (lines.dtr !== undefined) values.push(lines.dtr ? dtrOn : dtrOff)
    if (lines.rts !== undefined) values.push(lines.rts ? rtsOn : rtsOff)
    const answers = await Promise.all(values.map(value => asked.ask('control', value)))
    return answers.every((answer, at) => answer === values[at])
  }

  const serial: SerialControl = {
    path: what,
    ...(options.isOurs && { givesBack: true }),
    get settings() {
      return settings
    },
    async set(news) {
      checkLine(news, what, settings)
      const changes = order.filter(name => news[name] !== undefined && news[name] !== settings[name])
      await Promise.all(negotiate(changes, news))
      return settings
    },
    setControl: setLines,
    async control() {
      const [dtr, rts] = await Promise.all(
        [control.askDtr, control.askRts].map(topic => asked.ask('control', topic)),
      )
      return { dtr: dtr === control.dtrOn, rts: rts === control.rtsOn }
    },
    modem: async () => wires,
    onModem(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    async setBreak(on) {
      const answer = await asked.ask('control', on ? control.breakOn : control.breakOff)
      // Some servers answer the end of one with what there was before.
      return !on || answer === control.breakOn
    },
    async purge(which) {
      if (which !== 'rx') telnet.forgetHeld()
      await asked.ask('purge', purgeValues[which])
      if (which !== 'tx') telnet.forgetRead()
    },
    async counters() {
      if (counts) return counts
      const mask = lineBits.framing | lineBits.overrun | lineBits.parity | lineBits.break
      await asked.ask('line-mask', mask).catch(() => {})
      return counts
    },
  }

  const open = async () => {
    checkLine(wanted, what)
    telnet.begin()
    for (const option of [comPort, binary, suppressGoAhead]) telnet.wish('us', option)
    for (const option of [binary, suppressGoAhead]) telnet.wish('them', option)
    await agreed.promise
    const isWanted = (name: keyof LineSettings) => wanted[name] !== undefined
    const setting = Promise.all(negotiate(order.filter(isWanted), wanted))
    // Many servers know only a part of it. What is not wanted need not be known.
    const others = negotiate(order.filter(name => !isWanted(name))).map(answer => answer.catch(() => {}))
    const masked = asked.ask('modem-mask', 255).catch(() => {})
    await setting
    const [lost] = differing(settings, wanted)
    if (lost !== undefined) throw notKept(`${lost}=${wanted[lost]}`)
    if (options.control && !(await setLines(options.control))) {
      throw notKept(
        Object.entries(options.control)
          .map(([name, on]) => `${name}=${Number(on)}`)
          .join(','),
      )
    }
    await Promise.all(others)
    // Most servers tell of them now; some do not, or have no answer to this.
    const { promise: longEnough, resolve } = Promise.withResolvers<void>()
    const stopWaiting = startTimer(options.isOurs ? options.withinMs : wiresPatienceMs, resolve)
    await Promise.race([Promise.all([masked, wired.promise]), longEnough])
    stopWaiting()
  }
  const notKept = (written: string) =>
    new RelayError('unsupported', {
      what,
      why: `the port behind its server does not keep \`${written}\``,
      fix: 'Leave it out, or choose what the device can',
    })

  const { promise: givenUp, reject: giveUp } = Promise.withResolvers<never>()
  const onAbort = () => giveUp(RelayError.from(signal.reason, what))
  const slow = `its server has not agreed on RFC 2217 within ${Math.round(options.withinMs)} ms`
  const stopWaiting = startTimer(options.withinMs, () =>
    giveUp(new RelayError('timed-out', { what, why: slow, fix: 'Write `TCP:<host>:<port>` for its bytes' })),
  )
  signal.addEventListener('abort', onAbort)
  if (signal.aborted) onAbort()
  agreed.promise.catch(() => {})
  try {
    await Promise.race([open(), givenUp])
  } catch (thrown) {
    const error = RelayError.from(thrown, what)
    channel.abort(error)
    await channel[Symbol.asyncDispose]()
    throw error
  } finally {
    stopWaiting()
    signal.removeEventListener('abort', onAbort)
  }
  return { ...channel, serial }
}

import type { Channel } from '../../endpoint.ts'
import type { SerialControl } from '../control.ts'
import { keepSettings } from '../kept-settings.ts'
import { noPort } from '../no-port.ts'
import { absentWires, type LineSettings, type ModemLines } from '../port.ts'
import { sendBreak } from '../send-break.ts'
import { telnet as bytes, telnetOptions } from '../telnet.ts'
import { telnetChannel } from '../telnet-channel.ts'
import type { TelnetStream } from '../telnet-stream.ts'
import {
  type ComPortMessage,
  type ComPortNumber,
  comPortBytes,
  control,
  flowOf,
  flowValues,
  modemState,
  purgeOf,
  readComPort,
  settingOf,
  settingValues,
  topicOf,
} from './codec.ts'
import { type LineWatch, lineWatch } from './line-watch.ts'

const { binary, echo, suppressGoAhead, comPort } = telnetOptions

const signature = 'fleetcat'
const presence = Buffer.from(`\r\n[${signature}: yes]\r\n`)

/** What goes beyond RFC 2217 with clients that know of it: codes of the option that the standard leaves free. */
export interface Companion {
  isIts(code: number): boolean
  /** A client has said this. It can be answered now or later. */
  heard(code: number, client: Pick<TelnetStream, 'say' | 'isStuck'>): void
  /** The client takes in again what is said to it. */
  caughtUp(): void
}

/**
 * Serves a client of RFC 2217 on `inner`, which it takes over. The line is that of the channel it is joined with; one that
 * has none takes any setting and has no wires. Nothing is said before that.
 */
export function rfc2217Server(inner: Channel, companion?: Companion): Channel {
  let line: SerialControl = noPort('')
  let mayAct = () => true
  let watch: LineWatch | undefined
  let stopModem: (() => void) | undefined
  let wires: ModemLines = absentWires
  let isComPort = false
  let modemMask = 255
  let lineMask = 0
  /** A change that was not told because the client takes nothing in. */
  let owing = false
  const lines = { dtr: true, rts: true }
  let breaking = false
  const over = new AbortController()

  const say = (message: ComPortMessage) => telnet.say(comPortBytes(message, 'server'))
  const answer = (name: ComPortNumber, value: number) => say({ name, value })

  const tellModem = (before: ModemLines = wires) => {
    owing = telnet.isStuck
    if (!owing) answer('modem-state', modemState(wires, before) & modemMask)
  }
  const readModem = async () => {
    wires = (await line.modem().catch(() => undefined)) ?? absentWires
    if (!over.signal.aborted) tellModem()
  }
  const watchModem = () => {
    if (modemMask === 0 || !isComPort || over.signal.aborted) {
      stopModem?.()
      stopModem = undefined
      return
    }
    stopModem ??= line.onModem((now, before) => {
      wires = now
      const changed = modemState(now) ^ modemState(before)
      if ((changed | (changed >> 4)) & modemMask) tellModem(before)
    })
  }
  const beginComPort = () => {
    if (isComPort) return
    isComPort = true
    watchModem()
    return readModem()
  }

  const set = async (wanted: LineSettings) => {
    // What it cannot be it is not; the answer says how it is.
    await line.set(wanted).catch(() => {})
  }
  const setting =
    <K extends keyof typeof settingValues>(name: K) =>
    async (value = 0) => {
      const wanted = settingOf(name, value)
      if (wanted !== undefined) await set({ [name]: wanted })
      answer(name, (settingValues[name] as Record<string, number>)[String(line.settings[name])]!)
    }
  const setLine = async (name: 'dtr' | 'rts', on: boolean) => {
    const done = await line.setControl({ [name]: on }).catch(() => false)
    if (done) lines[name] = on
  }
  const readLines = async () => {
    Object.assign(lines, await line.control?.().catch(() => undefined))
  }
  const setBreak = async (on: boolean) => {
    const done = await line.setBreak(on).catch(() => false)
    if (done) breaking = on
  }

  /** What a value of `control` does, and what there is to say then. */
  const topics = {
    async flow(value: number) {
      const flow = flowOf(value)
      if (flow) await set({ flow })
      return flowValues.outbound[line.settings.flow]
    },
    async break(value: number) {
      if (value !== control.askBreak) await setBreak(value === control.breakOn)
      return breaking ? control.breakOn : control.breakOff
    },
    async dtr(value: number) {
      if (value === control.askDtr) await readLines()
      else await setLine('dtr', value === control.dtrOn)
      return lines.dtr ? control.dtrOn : control.dtrOff
    },
    async rts(value: number) {
      if (value === control.askRts) await readLines()
      else await setLine('rts', value === control.rtsOn)
      return lines.rts ? control.rtsOn : control.rtsOff
    },
    /** It goes with the other way. */
    async 'inbound-flow'(_value: number) {
      return flowValues.inbound[line.settings.flow]
    },
  }

  const numbers: Record<ComPortNumber, (value: number | undefined) => Promise<void> | void> = {
    async baud(value = 0) {
      if (value > 0) await set({ baud: value })
      answer('baud', line.settings.baud)
    },
    data: setting('data'),
    parity: setting('parity'),
    stop: setting('stop'),
    async control(value = control.askFlow) {
      const topic = topicOf(value)
      // Of what nobody has thought of yet there is nothing that is so.
      answer('control', topic ? await topics[topic](value) : 0)
    },
    async 'line-state'() {
      answer('line-state', (await watch?.now()) ?? 0)
    },
    'modem-state': readModem,
    async 'line-mask'(value = lineMask) {
      lineMask = value
      await watch?.watch(lineMask)
      answer('line-mask', lineMask)
    },
    'modem-mask'(value = modemMask) {
      modemMask = value
      answer('modem-mask', modemMask)
      watchModem()
      return readModem()
    },
    async purge(value) {
      const which = purgeOf(value)
      if (which && which !== 'rx') telnet.forgetRead()
      if (which) await line.purge(which).catch(() => {})
      if (which && which !== 'tx') telnet.forgetHeld()
      answer('purge', which ? value! : 0)
    },
  }

  const obey = (message: ComPortMessage): Promise<void> | void => {
    switch (message.name) {
      case 'signature':
        // With a text in it the client says who it is.
        if (message.text === '') say({ name: 'signature', text: signature })
        break
      case 'suspend':
      case 'resume':
        telnet.hold(message.name === 'suspend')
        break
      default:
        return numbers[message.name](message.value)
    }
  }

  /** One that a client has begun by itself is over with it. */
  const breakOnce = async () => {
    await sendBreak(line, { signal: over.signal }).catch(() => {})
    breaking = false
  }

  const { telnet, channel } = telnetChannel(inner, {
    allowed: { us: [binary, echo, suppressGoAhead, comPort], them: [binary, suppressGoAhead, comPort] },
    settled(_side, option, on) {
      if (option === comPort && on) void beginComPort()
    },
    command(code) {
      if (!mayAct()) return
      if (code === bytes.areYouThere) telnet.say(presence)
      if (code === bytes.break) return breakOnce()
    },
    subnegotiation(option, payload) {
      const [code] = payload
      if (option === comPort && code !== undefined && companion?.isIts(code)) {
        if (mayAct()) companion.heard(code, telnet)
        return
      }
      const message = option === comPort ? readComPort(payload, 'client') : undefined
      if (message && mayAct()) return obey(message)
    },
    full(isFull) {
      if (isComPort) say({ name: isFull ? 'suspend' : 'resume' })
    },
    caughtUp() {
      if (owing) tellModem()
      companion?.caughtUp()
    },
    closed: () => end(),
  })
  const end = () => {
    over.abort()
    stopModem?.()
    stopModem = undefined
    watch?.[Symbol.dispose]()
  }

  return {
    ...channel,
    /** Who has the port as his own closes it. A terminal that only types may still wait for an answer. */
    get hangsUp() {
      return isComPort || undefined
    },
    joined(far, mayActNow) {
      const { serial } = far
      mayAct = mayActNow
      line = serial ?? noPort(far.peer.text)
      const giveBack = serial && !serial.givesBack ? keepSettings(serial) : undefined
      if (channel.stream.destroyed) return giveBack
      watch = lineWatch(line, far.stream, state => {
        if (!telnet.isStuck) answer('line-state', state)
      })
      for (const option of [binary, suppressGoAhead, echo]) telnet.wish('us', option)
      for (const option of [binary, suppressGoAhead, comPort]) telnet.wish('them', option)
      telnet.begin()
      return async () => {
        end()
        if (breaking) await setBreak(false)
        await giveBack?.()
      }
    },
  }
}

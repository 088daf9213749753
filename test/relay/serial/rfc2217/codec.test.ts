import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  type ComPortMessage,
  comPortBytes,
  flowOf,
  modemLinesOf,
  modemState,
  purgeOf,
  readComPort,
  type Speaker,
  settingOf,
  topicOf,
} from '#relay/serial/rfc2217/codec.ts'
import { telnetParser } from '#relay/serial/telnet.ts'

/** Every code, as the standard writes it, said by a client; a server's is 100 more. */
const words: readonly (readonly [ComPortMessage, ...number[]])[] = [
  [{ name: 'signature', text: 'me' }, 0, 0x6d, 0x65],
  [{ name: 'baud', value: 115_200 }, 1, 0, 1, 0xc2, 0],
  [{ name: 'data', value: 8 }, 2, 8],
  [{ name: 'parity', value: 3 }, 3, 3],
  [{ name: 'stop', value: 2 }, 4, 2],
  [{ name: 'control', value: 8 }, 5, 8],
  [{ name: 'line-state', value: 96 }, 6, 96],
  [{ name: 'modem-state', value: 176 }, 7, 176],
  [{ name: 'suspend' }, 8],
  [{ name: 'resume' }, 9],
  [{ name: 'line-mask', value: 30 }, 10, 30],
  [{ name: 'modem-mask', value: 254 }, 11, 254],
  [{ name: 'purge', value: 3 }, 12, 3],
]

function parsed(bytes: Buffer, from: Speaker): (ComPortMessage | undefined)[] {
  const heard: (ComPortMessage | undefined)[] = []
  const parser = telnetParser({
    data: bytes => heard.push({ name: 'signature', text: `data: ${bytes.toString('hex')}` }),
    command() {},
    option() {},
    subnegotiation: (_option, payload) => heard.push(readComPort(payload, from)),
  })
  parser.take(bytes)
  return heard
}

describe('each word', () => {
  for (const [message, code, ...payload] of words) {
    test(`${message.name} has its code, both ways`, () => {
      const frame = (first: number) => Buffer.of(255, 250, 44, first, ...payload, 255, 240)
      expect(comPortBytes(message, 'client')).toEqual(frame(code!))
      expect(comPortBytes(message, 'server')).toEqual(frame(code! + 100))
      expect(readComPort(Buffer.of(code!, ...payload), 'client')).toEqual(message)
      expect(readComPort(Buffer.of(code! + 100, ...payload), 'server')).toEqual(message)
    })

    test(`${message.name} cut short is read as far as it goes`, () => {
      for (let length = 0; length < payload.length; length++) {
        const short = readComPort(Buffer.of(code!, ...payload.slice(0, length)), 'client')
        expect(short?.name).toBe(message.name)
        if (short && 'value' in short) expect(short.value).toBeUndefined()
      }
    })
  }

  test('a byte 255 is doubled in what is said, wherever it is', () => {
    const value = 0x00ff_ffff
    const bytes = comPortBytes({ name: 'baud', value }, 'client')
    expect(bytes.toString('hex')).toBe('fffa2c0100ffffffffffff' + 'fff0')
    expect(parsed(bytes, 'client')).toEqual([{ name: 'baud', value }])
    const mask = comPortBytes({ name: 'modem-mask', value: 255 }, 'server')
    expect(parsed(mask, 'server')).toEqual([{ name: 'modem-mask', value: 255 }])
  })

  test('what nobody says is nothing', () => {
    for (const code of [13, 99, 113, 255]) {
      expect(readComPort(Buffer.of(code, 1), 'client')).toBeUndefined()
      expect(readComPort(Buffer.of(code, 1), 'server')).toBeUndefined()
    }
    // A client's word in a server's mouth.
    expect(readComPort(Buffer.of(1, 0, 0, 0, 1), 'server')).toBeUndefined()
    expect(readComPort(Buffer.alloc(0), 'client')).toBeUndefined()
  })

  test('any number is read back as it was said', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...words.map(([message]) => message).filter(message => 'value' in message)),
        fc.nat(0xffff_ffff),
        fc.constantFrom('client' as const, 'server' as const),
        ({ name }, number, from) => {
          const value = name === 'baud' ? number : number & 255
          const message = { name, value } as ComPortMessage
          expect(parsed(comPortBytes(message, from), from)).toEqual([message])
        },
      ),
    )
  })
})

describe('values', () => {
  test('settings', () => {
    expect([0, 4, 5, 6, 7, 8, 9].map(value => settingOf('data', value))).toEqual([
      undefined,
      undefined,
      5,
      6,
      7,
      8,
      undefined,
    ])
    expect([0, 1, 2, 3, 4, 5, 6].map(value => settingOf('parity', value))).toEqual([
      undefined,
      'none',
      'odd',
      'even',
      'mark',
      'space',
      undefined,
    ])
    expect([0, 1, 2, 3, 4].map(value => settingOf('stop', value))).toEqual([undefined, 1, 2, 1.5, undefined])
    expect([0, 1, 2, 3, 4].map(flowOf)).toEqual([undefined, 'none', 'xonxoff', 'rtscts', undefined])
    expect([0, 1, 2, 3, 4].map(purgeOf)).toEqual([undefined, 'rx', 'tx', 'both', undefined])
  })

  test('a control value belongs to what it asks, sets and answers', () => {
    const topics = Array.from({ length: 21 }, (_, value) => topicOf(value))
    expect(topics).toEqual([
      ...Array(4).fill('flow'),
      ...Array(3).fill('break'),
      ...Array(3).fill('dtr'),
      ...Array(3).fill('rts'),
      ...Array(4).fill('inbound-flow'),
      'flow',
      'inbound-flow',
      'flow',
      undefined,
    ])
  })

  test('modem lines and what has changed of them', () => {
    const none = { cts: false, dsr: false, ri: false, dcd: false }
    const all = { cts: true, dsr: true, ri: true, dcd: true }
    expect(modemState(all)).toBe(0xf0)
    // That it begins to ring is no change; that it stops is one.
    expect(modemState(all, none)).toBe(0xf0 | 8 | 2 | 1)
    expect(modemState(none, all)).toBe(8 | 4 | 2 | 1)
    expect(modemState({ ...none, cts: true }, none)).toBe(16 | 1)
    expect(modemState({ ...none, dsr: true }, none)).toBe(32 | 2)
    expect(modemState({ ...none, dcd: true }, none)).toBe(128 | 8)
    for (let state = 0; state < 256; state += 16) expect(modemState(modemLinesOf(state))).toBe(state)
  })
})

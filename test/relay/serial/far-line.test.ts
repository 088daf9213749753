import { describe, expect, test } from 'vitest'
import { parseAddress } from '#relay/address.ts'
import type { Channel } from '#relay/endpoint.ts'
import { farLine } from '#relay/endpoints/far-line.ts'
import { bindTarget, lineAddress } from '#relay/endpoints/index.ts'
import { openContext } from '#test/resources/contexts.ts'
import type { MemoryPort } from '#test/resources/serial/memory-port.ts'
import { openServedPort } from '#test/resources/serial/served-port.ts'
import { gather } from '#test/resources/terminals.ts'
import { until } from '#test/resources/until.ts'

interface Reached extends AsyncDisposable {
  readonly channel: Channel
  /** The port at the end of it all. */
  readonly port: MemoryPort
}

/** What another host has opened, and passes on with its line: a port behind a server of RFC 2217. */
async function reach(options = ''): Promise<Reached> {
  await using opening = new AsyncDisposableStack()
  const served = opening.use(await openServedPort())
  const written = `RFC2217:127.0.0.1:${served.relay.port}${options}`
  const carried = await bindTarget(`${written},rfc2217`).dialer!.dial(openContext())
  const channel = opening.use(await farLine(carried, parseAddress(`@lab-1/${written}`), openContext()))
  const held = opening.move()
  return { channel, port: served.ports[0]!, [Symbol.asyncDispose]: () => held.disposeAsync() }
}

describe('the line of a port on another host', () => {
  test('is set as one of this host is, and its wires are seen', async () => {
    await using reached = await reach(',baud=57600')
    const { port, channel } = reached
    const serial = channel.serial!
    expect(port.port.settings.baud).toBe(57_600)
    expect(serial.settings).toMatchObject({ baud: 57_600, data: 8, parity: 'none' })
    expect(await serial.set({ data: 7, parity: 'even' })).toMatchObject({ data: 7, parity: 'even' })
    expect(port.port.settings).toMatchObject({ data: 7, parity: 'even' })
    expect(await serial.setControl({ dtr: false })).toBe(true)
    expect(await serial.setBreak(true)).toBe(true)
    expect(port.asked).toEqual(expect.arrayContaining(['dtr=0', 'break on']))
    let rings = 0
    serial.onModem(({ ri }) => {
      if (ri) rings++
    })
    port.wire({ ri: true })
    await until('it is heard', () => rings === 1)
    channel.stream.write('there')
    expect(String(await gather(port.far, 5))).toBe('there')
    port.far.write('back\xff')
    expect(String(await gather(channel.stream, 6))).toBe('back\xff')
  })

  test('is given back where it is, and ends after as much silence as its address says', async () => {
    await using reached = await reach(',end-after=50ms')
    const { port, channel } = reached
    await channel.serial!.set({ baud: 300 })
    await channel.serial!.setBreak(true)
    expect(channel.serial!.givesBack).toBe(true)
    channel.stream.resume().end()
    await until('it ends', () => channel.stream.readableEnded)
    await channel[Symbol.asyncDispose]()
    await until('it is as it was', () => port.port.settings.baud === 9_600)
    expect(port.asked).toContain('break off')
  })
})

test('another host is asked for the line where clients set it, and for bytes alone where they do not', () => {
  const port = '@lab-1/SERIAL:/dev/ttyUSB0,share'
  const serves = 'RFC2217-LISTEN:2001,fork'
  expect(lineAddress(serves, port)).toBe(`${port},rfc2217`)
  expect(lineAddress(serves, `${port},rfc2217`)).toBe(`${port},rfc2217`)
  expect(lineAddress(serves, '@lab-1/rfc2217:far:2001')).toBe('@lab-1/rfc2217:far:2001,rfc2217')
  expect(lineAddress('TCP-LISTEN:2001,fork', port)).toBeUndefined()
  for (const target of ['SERIAL:/dev/ttyUSB0', '@lab-1/TCP:far:23', '@lab-1/SERIAL:/dev/a!!SERIAL:/dev/b'])
    expect(lineAddress(serves, target)).toBeUndefined()
})

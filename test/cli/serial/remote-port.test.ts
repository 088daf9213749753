import { expect, test } from 'vitest'
import { openRemotePort, type RemotePortEvents } from '#cli/serial/remote-port.ts'
import type { Tunnels } from '#cli/tunnels.ts'
import type { Channel } from '#relay/endpoint.ts'
import { bindAddress } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'
import { openContext } from '#test/resources/contexts.ts'
import { openFakePort } from '#test/resources/serial/cables.ts'
import { until } from '#test/resources/until.ts'

const never = new AbortController().signal

/** The way to a port without its tunnel: what goes through is the same. */
async function open(address: string, events: Partial<RemotePortEvents> = {}) {
  let channel: Channel | undefined
  const tunnels = {
    async open() {
      channel = await bindAddress(address).dialer!.dial(openContext())
      return channel
    },
  } as Partial<Tunnels> as Tunnels
  const silent = { received() {}, told() {}, over() {} }
  const remote = await openRemotePort(address, tunnels, { ...silent, ...events }, never)
  return { remote, channel: channel! }
}

test('all of a line can be set and asked, and answers are what the device has', async () => {
  await using port = await openFakePort()
  const { remote } = await open(`SERIAL:${port.path},rfc2217`)
  await using _ = remote
  expect(remote.standing).toMatchObject({ writes: true, there: true, line: { baud: 9_600 } })
  expect(await remote.set({ baud: 115_200, stop: 2, flow: 'xonxoff' })).toEqual({
    baud: 115_200,
    stop: 2,
    flow: 'xonxoff',
  })
  // A pseudo-terminal has none.
  expect(await remote.set({ parity: 'even' })).toEqual({ parity: 'none' })
  expect((await remote.who()).line).toMatchObject({ baud: 115_200, stop: 2, flow: 'xonxoff' })
  expect(await remote.modem()).toEqual({ cts: true, dsr: true, ri: false, dcd: true })
  expect(await remote.setControl({ dtr: false, rts: true })).toBe(false)
  expect(await remote.sendBreak()).toBe(false)
})

test('bytes of all values arrive both ways, and settings stay behind what was written before', async () => {
  await using port = await openFakePort()
  const all = Buffer.from(Array.from({ length: 1_024 }, (_, n) => n & 0xff))
  const came: Buffer[] = []
  const { remote } = await open(`SERIAL:${port.path},rfc2217`, { received: bytes => void came.push(bytes) })
  await using _ = remote
  const sent: Buffer[] = []
  port.far.on('data', bytes => sent.push(bytes))
  void remote.write(all)
  await remote.set({ baud: 19_200 })
  await until('all has been sent', () => Buffer.concat(sent).equals(all))
  port.far.write(all)
  await until('all has come', () => Buffer.concat(came).equals(all))
})

test('a write into a port that takes nothing ends with the connection', async () => {
  await using port = await openFakePort()
  const over = Promise.withResolvers<RelayError>()
  const { remote, channel } = await open(`SERIAL:${port.path},rfc2217`, { over: over.resolve })
  await using _ = remote
  let isWritten = false
  const writing = (async () => {
    for (let n = 0; n < 64; n++) await remote.write(Buffer.alloc(65_536))
    isWritten = true
  })()
  await until('the port is full', async () => (await remote.who()).writes)
  expect(isWritten).toBe(false)
  channel.stream.destroy(new RelayError('revoked', { what: 'the port', why: 'the test is over' }))
  await writing
  expect(await over.promise).toMatchObject({ code: 'revoked', why: 'the test is over' })
  await expect(remote.set({ baud: 1_200 })).rejects.toMatchObject({ code: 'revoked' })
})

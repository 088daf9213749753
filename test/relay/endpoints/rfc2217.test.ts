import { describe, expect, test } from 'vitest'
import type { Channel } from '#relay/endpoint.ts'
import { bindAddress } from '#relay/endpoints/index.ts'
import { openContext } from '#test/resources/contexts.ts'
import { openTestRelay } from '#test/resources/relays.ts'
import { openFakePort, openLoop } from '#test/resources/serial/cables.ts'
import { telnetPeer } from '#test/resources/serial/telnet-peer.ts'
import { openClient } from '#test/resources/servers.ts'
import { gather } from '#test/resources/terminals.ts'
import { until } from '#test/resources/until.ts'

const listen = 'RFC2217-LISTEN:0,bind=127.0.0.1,fork'
const dial = (text: string): Promise<Channel> => bindAddress(text).dialer!.dial(openContext())

/** A client that speaks by hand, and whose the port is as long as it stays. */
async function openPeer(port: number) {
  const socket = await openClient(port)
  const peer = telnetPeer(socket)
  peer.option('will', 44)
  return Object.assign(peer, { socket, [Symbol.asyncDispose]: () => socket[Symbol.asyncDispose]() })
}

describe('the words of the addresses', () => {
  test.each([
    'RFC2217:10.0.0.5:2001',
    'RFC2217:[::1]:2001,baud=115200,data=7,parity=even,stop=2,flow=rtscts,dtr=0,rts=1',
    'rfc2217:console.example.com:2001,connect-timeout=3,retry=2,interval=1,end-after=0.2',
    'RFC2217-LISTEN:2001,fork,bind=127.0.0.1,range=10.0.0.0/8',
    'RFC2217-L:2001,fork,max-children=2,proxy-protocol=10.0.0.1/32',
  ])('%s is right', text => {
    expect(bindAddress(text).scope.text).toMatch(/^RFC2217/)
  })

  test.each([
    ['RFC2217:10.0.0.5', /Write `RFC2217:<host>:<port>`/],
    ['RFC2217:10.0.0.5:0', /is no port/],
    ['RFC2217:10.0.0.5:2001,parity=evne', /even/],
    ['RFC2217:10.0.0.5:2001,share', /share/],
    ['RFC2217-LISTEN', /Write `RFC2217-LISTEN:<port>`/],
    ['RFC2217-LISTEN:2001,baud=9600', /baud/],
  ])('%s is refused', (text, why) => {
    expect(() => bindAddress(text)).toThrow(why)
  })
})

test('clients that come at once after one another each get the port', async () => {
  await using port = await openLoop()
  await using relay = await openTestRelay({ listen, targets: [`SERIAL:${port.path}`] })
  for (let time = 0; time < 8; time++) {
    await using client = await openPeer(relay.port)
    expect(await client.ask('baud', 9_600 * (time + 1))).toBe(9_600 * (time + 1))
    client.write('mine')
    await until('it comes back', () => String(client.data()) === 'mine')
  }
  expect(relay.failed).toEqual([])
})

test('a shared port is as it was when the last who has set it has gone', async () => {
  await using port = await openFakePort()
  await using relay = await openTestRelay({ listen, targets: [`SERIAL:${port.path},share,notices=0`] })
  await using stays = await dial(`SERIAL:${port.path},watch,notices=0`)
  stays.stream.resume()
  const before = stays.serial!.settings
  {
    await using first = await openPeer(relay.port)
    await first.ask('baud', 19_200)
    await using second = await openPeer(relay.port)
    await second.ask('baud', 0)
    await first[Symbol.asyncDispose]()
    await until('the second writes', async () => (await second.ask('baud', 57_600)) === 57_600)
  }
  await until('both are over', () => relay.closed.length === 2)
  await until('it is as it was', () => stays.serial!.settings.baud === before.baud)
  expect(stays.serial!.settings).toEqual(before)
})

test('a client whose target cannot be opened is closed', async () => {
  await using relay = await openTestRelay({ listen, targets: ['SERIAL:/dev/nowhere'] })
  await using client = await openPeer(relay.port)
  await until('it is closed', () => client.socket.closed)
  expect(relay.failed[0]).toMatchObject({ code: 'not-found' })
})

test('a client that has stalled and hangs up leaves the port to the next', async () => {
  await using port = await openFakePort()
  await using relay = await openTestRelay({ listen, targets: [`SERIAL:${port.path}`] })
  {
    await using stalled = await openPeer(relay.port)
    await stalled.ask('baud', 0)
    stalled.socket.pause()
    port.far.write(Buffer.alloc(4_000_000, 'x'))
    await until(
      'nothing moves any more',
      () => port.far.writableLength > 0 && relay.opened[0]!.bytesOut > 64_000,
    )
  }
  await using next = await dial(`RFC2217:127.0.0.1:${relay.port},connect-timeout=5`)
  expect(next.serial!.settings).toMatchObject({ baud: 9_600 })
  expect((await gather(next.stream, 10)).toString()).toMatch(/^x{10}/)
})

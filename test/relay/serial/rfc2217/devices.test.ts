import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect } from 'vitest'
import { needing } from '#test/resources/needs.ts'
import { baudOf } from '#test/resources/serial/cables.ts'
import { openServedLine, type ServedLine } from '#test/resources/serial/served-line.ts'
import { type TelnetPeer, telnetPeer } from '#test/resources/serial/telnet-peer.ts'
import { openClient, type TestClient } from '#test/resources/servers.ts'
import { gather } from '#test/resources/terminals.ts'
import { until } from '#test/resources/until.ts'

const test = needing('cc')

/** As long as whoever waits for a line to be empty takes from one look at it to the next. */
const nextLook = () => sleep(10)

type Client = TelnetPeer & AsyncDisposable & { readonly socket: TestClient }

async function clientOf({ port }: ServedLine): Promise<Client> {
  const socket = await openClient(port)
  const peer = telnetPeer(socket)
  return Object.assign(peer, { socket, [Symbol.asyncDispose]: () => socket[Symbol.asyncDispose]() })
}

describe('a device', () => {
  test('has its settings back when its client has gone', async () => {
    await using served = await openServedLine('nowhere')
    {
      await using client = await clientOf(served)
      client.option('will', 44)
      expect(await client.ask('baud', 115_200)).toBe(115_200)
      expect(await client.ask('data', 7)).toBe(7)
    }
    await using next = await clientOf(served)
    expect(await next.ask('baud', 0)).toBe(9_600)
    expect(await next.ask('data', 0)).toBe(8)
  })

  test('is set back when all that its client has written is sent, and no sooner', async () => {
    await using served = await openServedLine('nowhere')
    {
      await using client = await clientOf(served)
      client.option('will', 44)
      expect(await client.ask('baud', 57_600)).toBe(57_600)
      served.line.stick(20)
      client.write('last words')
    }
    for (let unsent = 20; unsent > 0; unsent--) {
      served.line.stick(unsent)
      expect(await baudOf(served.device.path)).toBe(57_600)
      await nextLook()
    }
    served.line.stick(0)
    await until('it is as it was', async () => (await baudOf(served.device.path)) === 9_600)
  })

  test('whose address lowers its control lines says so', async () => {
    await using served = await openServedLine('nowhere', ',dtr=0')
    await using client = await clientOf(served)
    expect(await client.ask('control', 7)).toBe(9)
    expect(await client.ask('control', 10)).toBe(11)
  })

  test('without modem lines is served as if they were on', async () => {
    await using served = await openServedLine('none')
    await using client = await clientOf(served)
    client.option('will', 44)
    expect((await client.next('modem-state')).value).toBe(128 | 32 | 16)
    expect(await client.ask('control', 9)).toBe(8)
    expect(await client.ask('control', 5)).toBe(6)
  })

  test('tells of its modem lines as they change', async () => {
    await using served = await openServedLine('nowhere')
    await using client = await clientOf(served)
    client.option('will', 44)
    expect((await client.next('modem-state')).value).toBe(0)
    served.line.input({ cts: true })
    expect((await client.next('modem-state')).value).toBe(16 | 1)
  })

  test('tells of the errors of its line as they are counted', async () => {
    await using served = await openServedLine('nowhere')
    await using client = await clientOf(served)
    expect(await client.ask('line-mask', 8)).toBe(8)
    served.line.count({ frame: 1 })
    expect((await client.next('line-state')).value).toBe(8)
  })

  test('that is unplugged ends its clients, and no sooner', async () => {
    await using served = await openServedLine('nowhere')
    await using client = await clientOf(served)
    await client.ask('baud', 0)
    await served.device.unplug()
    await until('it is cut', () => client.socket.destroyed)
  })
})

describe('a shared device', () => {
  test('is set by who writes, and seen by who watches', async () => {
    await using served = await openServedLine('nowhere', ',share,notices=0')
    await using writer = await clientOf(served)
    expect(await writer.ask('baud', 57_600)).toBe(57_600)
    await using watcher = await clientOf(served)
    expect(await watcher.ask('baud', 0)).toBe(57_600)
    expect(await watcher.ask('baud', 300)).toBe(57_600)
    expect(await watcher.ask('control', 5)).toBe(6)
    watcher.option('will', 44)
    await watcher.next('modem-state')
    served.line.input({ dsr: true })
    expect((await watcher.next('modem-state')).value).toBe(32 | 2)
    served.device.far.write('for all')
    await until(
      'both have it',
      () => String(writer.data()) === 'for all' && String(watcher.data()) === 'for all',
    )
    writer.write('hello')
    expect(String(await gather(served.device.far, 5))).toBe('hello')
  })

  test('goes on for the others while one of them takes nothing in', async () => {
    await using served = await openServedLine('nowhere', ',share,notices=0')
    await using writer = await clientOf(served)
    await writer.ask('baud', 0)
    await using stuck = await clientOf(served)
    await stuck.ask('baud', 0)
    stuck.socket.pause()
    const sent = Buffer.alloc(2_000_000, 'x')
    served.device.far.write(sent)
    await until('who reads has it all', () => writer.data().length === sent.length)
    expect(await writer.ask('baud', 4_800)).toBe(4_800)
  })
})

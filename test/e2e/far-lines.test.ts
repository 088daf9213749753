import { connect } from 'node:net'
import { join } from 'node:path'
import { expect } from 'vitest'
import { needing } from '#test/resources/needs.ts'
import { type Program, root } from '#test/resources/program.ts'
import { baudOf, openFakePort } from '#test/resources/serial/cables.ts'
import { expectAllOfPyserial } from '#test/resources/serial/pyserial.ts'
import { openServedLine } from '#test/resources/serial/served-line.ts'
import { type TelnetPeer, telnetPeer } from '#test/resources/serial/telnet-peer.ts'
import { openClient, type TestClient } from '#test/resources/servers.ts'
import { until } from '#test/resources/until.ts'
import { type Lab, type LabOptions, openLab } from './lab.ts'

const patience = 90_000
/** The one that Debian's python3-serial is for. */
const python = '/usr/bin/python3'
const allOfPyserial = join(root, 'test/relay/programs/pyserial-client.py')

interface Bench extends AsyncDisposable {
  readonly lab: Lab
  /** Runs the relay `modem`. */
  readonly bench: Program
}

/** A lab, and a host `bench` from which its port is reached. */
async function openBench(options?: LabOptions): Promise<Bench> {
  await using opening = new AsyncDisposableStack()
  const lab = opening.use(await openLab(options))
  const bench = await lab.fleet.startAgent('bench')
  const held = opening.move()
  return { lab, bench, [Symbol.asyncDispose]: () => held.disposeAsync() }
}

/** The port on which `bench` serves the line of these targets by RFC 2217. */
async function serve({ fleet }: Lab, ...targets: string[]): Promise<number> {
  const listen = 'RFC2217-LISTEN:0,bind=127.0.0.1,fork'
  await fleet.cat(['create', 'modem', '--on', 'bench', listen, ...targets, '--wait'])
  const { items } = await fleet.json(['list'])
  return Number(items[0].status.agents[0].local[0].split(':').at(-1))
}

const there = ({ port }: Lab, options = '') => `@lab-1/SERIAL:${port.path}${options}`

type Client = TelnetPeer & AsyncDisposable & { readonly socket: TestClient }

/** Somebody comes and is cut, which may be before he has seen that he was let in. */
async function turnedAway(port: number): Promise<void> {
  const socket = connect(port, '127.0.0.1').on('error', () => {})
  await new Promise<void>(resolve => socket.once('close', () => resolve()).resume())
}

/** One who speaks RFC 2217 by hand. */
async function clientOf(port: number): Promise<Client> {
  const socket = await openClient(port)
  return Object.assign(telnetPeer(socket), {
    socket,
    [Symbol.asyncDispose]: () => socket[Symbol.asyncDispose](),
  })
}

needing('cc', python, 'pyserial-ports')(
  'pyserial can do all with a port of another host that it can do with one of its own',
  async () => {
    await using held = await openBench({ loop: true })
    const port = await serve(held.lab, there(held.lab))
    const { stdout, stderr } = await held.lab.start([python, '-W', 'ignore', allOfPyserial, String(port)])
      .ended
    expect(stderr).toBe('')
    expectAllOfPyserial(stdout, held.lab.lines)
  },
  patience,
)

needing('cc')(
  'what changes at the wires comes back, and when the client has gone the port is as it was',
  async () => {
    await using held = await openBench()
    const { lab } = held
    const port = await serve(lab, there(lab))
    {
      await using client = await clientOf(port)
      client.option('will', 44)
      expect((await client.next('modem-state')).value).toBe(0)
      expect(await client.ask('baud', 57_600)).toBe(57_600)
      expect(await baudOf(lab.port.path)).toBe(57_600)
      expect(await client.ask('control', 9)).toBe(9)
      expect(lab.line.dtr).toBe(false)
      lab.line.input({ cts: true })
      expect((await client.next('modem-state')).value).toBe(16 | 1)
      lab.line.input({ dcd: true })
      expect((await client.next('modem-state')).value).toBe(128 | 16 | 8)
      expect(await client.ask('line-mask', 8)).toBe(8)
      lab.line.count({ frame: 1 })
      expect((await client.next('line-state')).value).toBe(8)
      expect(await client.ask('control', 5)).toBe(5)
      expect(lab.line.breaking).toBe(true)

      const [listed] = await until('both ends are listed as one', async () => {
        const { items: agents } = await lab.fleet.json(['agents'])
        const told = agents.every(
          (each: { status: { connections: number } }) => each.status.connections === 1,
        )
        const { items } = await lab.fleet.json(['connections'])
        return told && items.length === 1 && items
      })
      expect(listed).toMatchObject({
        agent: 'bench',
        target: there(lab),
        tunnel: { initiator: 'agent/bench', answeredBy: 'lab-1' },
      })
      const described = await lab.fleet.cat(['describe', `conn/${listed.id}`])
      expect(described.stdout).toContain('lab-1')
    }
    await until('it is as it was', async () => (await baudOf(lab.port.path)) === 9_600)
    expect(lab.line.breaking).toBe(false)
    await until('nobody has it', async () => (await lab.fleet.json(['connections'])).items.length === 0)
  },
  patience,
)

needing('cc')(
  'a port of another host is for one client, unless it is shared: then one sets it and all see it',
  async () => {
    await using held = await openBench()
    const { lab } = held
    const port = await serve(lab, there(lab))
    await using first = await clientOf(port)
    expect(await first.ask('baud', 19_200)).toBe(19_200)
    await turnedAway(port)
    await held.bench.says(new RegExp(`"event":"connection.failed".*${lab.port.path}.*in use`))
    expect(await first.ask('baud', 0)).toBe(19_200)

    await lab.fleet.cat(['revoke', 'relay/modem'])
    await until('the first is cut', () => first.socket.destroyed)
    const shared = await serve(lab, there(lab, ',share'))
    await using writer = await clientOf(shared)
    expect(await writer.ask('baud', 38_400)).toBe(38_400)
    await using watcher = await clientOf(shared)
    expect(await watcher.ask('baud', 0)).toBe(38_400)
    expect(await watcher.ask('baud', 300)).toBe(38_400)
    lab.port.far.write('for all')
    await until('both have it', () => [writer, watcher].every(each => String(each.data()) === 'for all'))
    watcher.write('not heard')
    writer.write('heard')
    await until('the device has what one writes', () => lab.received() === 'heard')
  },
  patience,
)

needing('cc')(
  'a port of another host that takes nothing in is set free by a purge, behind all that waits for it',
  async () => {
    await using held = await openBench()
    const { lab } = held
    await using client = await clientOf(await serve(lab, there(lab)))
    client.option('will', 44)
    await client.next('modem-state')
    lab.port.far.pause()
    await until('the client is to wait', () => {
      const isToldTo = client.messages.some(({ name }) => name === 'suspend')
      if (!isToldTo) client.write(Buffer.alloc(16_384, 'x'))
      return isToldTo
    })
    expect(await client.ask('purge', 2)).toBe(2)
    lab.port.far.resume()
    await client.next('resume')
    client.write('\nand on')
    await until('it goes on', () => lab.received().endsWith('\nand on'))
  },
  patience,
)

needing('cc')(
  'what a client has written before it goes arrives, as slowly as the address says, at the speed that it has set',
  async () => {
    await using held = await openBench()
    const { lab } = held
    const port = await serve(lab, there(lab, ',char-delay=10ms'))
    const speeds: Promise<number>[] = []
    lab.port.far.on('data', () => speeds.push(baudOf(lab.port.path)))
    {
      await using client = await clientOf(port)
      client.option('will', 44)
      expect(await client.ask('baud', 57_600)).toBe(57_600)
      client.write('last words, and not too fast')
      client.socket.end()
      await until('it is gone', () => client.socket.destroyed)
    }
    await until('all has come', () => lab.received() === 'last words, and not too fast')
    expect([...new Set(await Promise.all(speeds))]).toEqual([57_600])
    await until('it is as it was', async () => (await baudOf(lab.port.path)) === 9_600)
  },
  patience,
)

for (const [what, order] of [
  ['the relay', 'relay/modem'],
  ['the agent of the port', 'agent/lab-1'],
] as const) {
  needing('cc')(
    `a revoke of ${what} ends the client at once, and the settings go back`,
    async () => {
      await using held = await openBench()
      const { lab } = held
      await using client = await clientOf(await serve(lab, there(lab)))
      client.option('will', 44)
      expect(await client.ask('baud', 57_600)).toBe(57_600)
      expect(await client.ask('control', 5)).toBe(5)
      const { receipts } = await lab.fleet.json(['revoke', order, '--reason', 'the board goes back'])
      expect(receipts.map(({ agent }: { agent: string }) => agent).sort()).toEqual(['bench', 'lab-1'])
      await until('the client is cut', () => client.socket.destroyed, 1_000)
      await until('it is as it was', async () => (await baudOf(lab.port.path)) === 9_600)
      expect(lab.line.breaking).toBe(false)
    },
    patience,
  )
}

needing('cc')(
  'who reaches a port that is away, or that its host does not permit, is ended, and the log says why',
  async () => {
    await using held = await openBench({ permit: ['SERIAL:/dev/pts/*', 'SERIAL:/dev/ttyNONE7'] })
    const { lab, bench } = held
    await turnedAway(await serve(lab, '@lab-1/SERIAL:/dev/ttyNONE7'))
    await bench.says(/"event":"connection.failed".*ttyNONE7/)
    await lab.fleet.cat(['revoke', 'relay/modem'])
    await turnedAway(await serve(lab, '@lab-1/SERIAL:/dev/ttyS9'))
    await bench.says(/"event":"connection.failed".*"code":"denied".*ttyS9/)
  },
  patience,
)

needing('cc')(
  'when one host cannot open its port, the line is that of the next',
  async () => {
    await using held = await openBench({ permit: ['SERIAL:/dev/ttyNONE7'] })
    const { lab } = held
    await using other = await openFakePort()
    const line = lab.lines.add(other.path)
    await lab.fleet.startAgent('lab-2', { args: ['--permit', 'SERIAL:/dev/pts/*'], env: lab.lines.env })
    const port = await serve(lab, '@lab-1/SERIAL:/dev/ttyNONE7', `@lab-2/SERIAL:${other.path}`)
    await using client = await clientOf(port)
    expect(await client.ask('baud', 4_800)).toBe(4_800)
    expect(await client.ask('control', 12)).toBe(12)
    expect(line.rts).toBe(false)
    expect(await baudOf(other.path)).toBe(4_800)
  },
  patience,
)

needing('cc', python)(
  'a port that another host reaches by RFC 2217 is set from here, through both',
  async () => {
    await using served = await openServedLine('nowhere')
    await using held = await openBench({ permit: ['RFC2217:127.0.0.1:*'] })
    const port = await serve(held.lab, `@lab-1/RFC2217:127.0.0.1:${served.port}`)
    const script = `
import serial, sys, time
port = serial.serial_for_url('rfc2217://127.0.0.1:' + sys.argv[1], 57600, parity='O', timeout=10)
port.rts = False
port.write(b'through both\\n')
print(port.baudrate, port.cts, flush=True)
while not port.cts: time.sleep(0.01)
print('cts', flush=True)
port.close()
`
    const run = held.lab.start([python, '-c', script, String(port)])
    await run.says(/57600 False/)
    expect(served.line.rts).toBe(false)
    expect(await baudOf(served.device.path)).toBe(57_600)
    served.line.input({ cts: true })
    expect(await run.ended).toMatchObject({ code: 0, stderr: '' })
    expect(served.lines.log().map(({ what }) => what)).toContainEqual(
      expect.stringMatching(/^framing .*parity=odd/),
    )
    await until('it is as it was', async () => (await baudOf(served.device.path)) === 9_600)
  },
  patience,
)

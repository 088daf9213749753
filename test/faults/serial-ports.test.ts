import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { rename, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { bindAddress } from '#relay/endpoints/index.ts'
import { type Lab, openLab } from '../e2e/lab.ts'
import { openContext } from '../resources/contexts.ts'
import { descriptorsOf } from '../resources/kernel-sockets.ts'
import { openListener } from '../resources/listener.ts'
import { needing } from '../resources/needs.ts'
import { launcher } from '../resources/program.ts'
import { openScratch } from '../resources/scratch.ts'
import { type FakePort, openFakePort } from '../resources/serial/cables.ts'
import { openClient, type TestClient } from '../resources/servers.ts'
import { until } from '../resources/until.ts'

const patience = 90_000
const withLab = needing('cc', 'stty')

interface RelayItem {
  readonly status: {
    readonly state: string
    readonly agents: readonly { readonly local: readonly string[] }[]
  }
}

/** Creates a relay to this target on the host of the lab; answers the port that it listens on. */
async function createRelay({ fleet }: Lab, target: string, ...words: string[]): Promise<number> {
  const listen = 'TCP4-LISTEN:0,bind=127.0.0.1,fork'
  await fleet.cat(['create', 'lab', '--on', 'lab-1', ...words, listen, target, '--wait'])
  return portOf(await relayOf({ fleet }))
}

const relayOf = async ({ fleet }: Pick<Lab, 'fleet'>): Promise<RelayItem> => {
  const { items } = await fleet.json(['list'])
  return items[0]
}
const portOf = ({ status }: RelayItem) => Number(status.agents[0]?.local[0]?.split(':').at(-1))

interface ConnectionItem {
  readonly id: string
  readonly bytesIn: number
}

const connectionsOf = async ({ fleet }: Lab): Promise<readonly ConnectionItem[]> =>
  (await fleet.json(['connections'])).items

const sttyOf = (path: string) => spawnSync('stty', ['-F', path, '-a'], { encoding: 'utf8' }).stdout
const lockFileOf = (path: string) => `/var/lock/LCK..${path.slice('/dev/'.length).replaceAll('/', '_')}`
const askedOf = ({ lines }: Lab) => lines.log().map(({ what }) => what)

/** Processor time of a process so far, in milliseconds: the kernel counts hundredths of a second. */
function processorMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  const [user, system] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13)
  return (Number(user) + Number(system)) * 10
}

/** Far more than all that lies between a client and a line takes. */
const plenty = Buffer.alloc(24_000_000, 'x')

describe('a port that is revoked', () => {
  withLab(
    'in the middle of a write sends nothing more, and is left as it was found',
    async () => {
      await using lab = await openLab()
      const { path, far } = lab.port
      spawnSync('stty', ['-F', path, '4800'])
      const before = sttyOf(path)
      const port = await createRelay(lab, `SERIAL:${path},b115200,cstopb`)
      await using client = await openClient(port)
      client.write('begin')
      await until('it carries', () => lab.received() === 'begin')
      expect(existsSync(lockFileOf(path))).toBe(true)
      far.pause()
      client.write(plenty)
      await until('it is under way', async () => (await connectionsOf(lab))[0]!.bytesIn > 20_000)
      // A pseudo-terminal sends at once what it takes; a line has it in a queue.
      lab.line.stick(100)

      await lab.fleet.cat(['revoke', 'relay/lab', '--reason', 'the board is wanted'])
      expect(descriptorsOf(lab.agent.pid).filter(text => text === path)).toEqual([])
      expect(existsSync(lockFileOf(path))).toBe(false)
      expect(sttyOf(path)).toBe(before)
      const asked = askedOf(lab)
      expect(asked.lastIndexOf('flush tx')).toBeGreaterThan(asked.lastIndexOf('open'))
      expect(asked.at(-1)).toBe('close')

      // What the far side had in its hands when it was revoked comes first, and then nothing but what is next.
      await using next = await bindAddress(`SERIAL:${path}`).dialer!.dial(openContext())
      next.stream.write('the next')
      far.resume()
      await until('the next one is heard', () => lab.received().endsWith('the next'))
      expect(lab.received().length).toBeLessThan(100_000)
    },
    patience,
  )

  withLab(
    'for one who watches stays open for the one who writes',
    async () => {
      await using lab = await openLab()
      const port = await createRelay(lab, `SERIAL:${lab.port.path},share`)
      using writer = await openListener(port)
      writer.socket.write('1')
      await until('the first writes', () => lab.received() === '1')
      const [first] = await until('it is listed', async () => {
        const found = await connectionsOf(lab)
        return found.length === 1 ? found : undefined
      })
      using watcher = await openListener(port)
      await until('the second watches', () => watcher.heard().includes('watching'))
      const second = await until('it is listed', async () =>
        (await connectionsOf(lab)).find(({ id }) => id !== first!.id),
      )
      await lab.fleet.cat(['revoke', `conn/${second.id}`])
      await until('the second is cut', watcher.closed)
      lab.port.far.write('still here')
      await until('the first goes on', () => writer.heard().endsWith('still here'))
      writer.socket.write('2')
      await until('and writes', () => lab.received() === '12')
      expect(askedOf(lab).filter(what => /^(open|close)$/.test(what))).toEqual(['open'])
    },
    patience,
  )
})

withLab(
  'a port that its owner forbids is let go, by who has it, its log, and who reads that',
  async () => {
    const permit = ['SERIAL:/dev/pts/*', 'OPEN:/tmp/**,append,creat,wronly', 'OPEN:/tmp/**,rdonly']
    await using lab = await openLab({ permit })
    const { path, far } = lab.port
    const log = join(lab.fleet.folder, 'port.log')
    const port = await createRelay(lab, `SERIAL:${path},share,log=${log}`)
    using client = await openListener(port)
    client.socket.write('hello')
    await until('it carries', () => lab.received() === 'hello')
    const reader = lab.start([launcher, 'serial', 'log', lab.place, '-f'])
    await until('it is read', () => {
      far.write('said\n')
      return reader.output().includes('said')
    })

    const rules = join(lab.fleet.folder, 'lab-1', 'agent.yaml')
    await writeFile(rules, `forbid:\n  - SERIAL:${path}\n`, { mode: 0o600 })
    lab.agent.kill('SIGHUP')
    await until('it is cut', client.closed)
    await until('it is free', () => !existsSync(lockFileOf(path)))
    const { code, stderr } = await reader.ended
    expect(`${code} ${stderr}`).toMatch(/^3 .*the host's ceiling forbids SERIAL/s)
    const held = descriptorsOf(lab.agent.pid)
    expect(held.filter(text => text === path || text.startsWith(log))).toEqual([])
  },
  patience,
)

withLab(
  'a port that its owner forbids is let go by an alert of a tunnel that stays',
  async () => {
    await using lab = await openLab()
    const { path } = lab.port
    const listen = 'TCP4-LISTEN:0,bind=127.0.0.1,fork'
    const address = `@lab-1/SERIAL:${path},alert=panic`
    const forward = lab.start([launcher, 'forward', listen, address])
    const [, port] = await forward.says(/127\.0\.0\.1:(\d+) leads to/)
    using client = await openListener(Number(port))
    client.socket.write('hello')
    await until('it carries', () => lab.received() === 'hello')

    const rules = join(lab.fleet.folder, 'lab-1', 'agent.yaml')
    await writeFile(rules, `forbid:\n  - SERIAL:${path}\n`, { mode: 0o600 })
    lab.agent.kill('SIGHUP')
    await until('it is cut', client.closed)
    await until('it is free', () => !existsSync(lockFileOf(path)))
    expect(descriptorsOf(lab.agent.pid).filter(text => text === path)).toEqual([])
  },
  patience,
)

withLab(
  'a lease that is over cuts who has a port, and frees it; with the controller it comes back',
  async () => {
    await using lab = await openLab()
    const { path } = lab.port
    const port = await createRelay(lab, `SERIAL:${path}`, '--lease', '5s')
    using client = await openListener(port)
    client.socket.write('hello')
    await until('it carries', () => lab.received() === 'hello')
    lab.controller.kill('SIGSTOP')
    await until('it is cut', client.closed)
    await until('it is free', () => !existsSync(lockFileOf(path)))
    expect(descriptorsOf(lab.agent.pid).filter(text => text === path)).toEqual([])
    lab.controller.kill('SIGCONT')
    await until('the relay is back', async () => (await relayOf(lab)).status.state === 'ready', 30_000)
    using again = await openListener(portOf(await relayOf(lab)))
    again.socket.write(' again')
    await until('it carries again', () => lab.received() === 'hello again')
  },
  patience,
)

needing(
  'cc',
  'stty',
  'picocom',
  'socat',
)(
  'an agent that was killed with a port in its hands keeps nobody out, itself neither',
  async () => {
    await using lab = await openLab()
    const { path } = lab.port
    const port = await createRelay(lab, `SERIAL:${path},b19200`)
    using client = await openListener(port)
    client.socket.write('x')
    await until('it carries', () => lab.received() === 'x')
    lab.agent.kill('SIGKILL')
    await lab.agent.ended
    expect(readFileSync(lockFileOf(path), 'utf8').trim()).toBe(String(lab.agent.pid))
    for (const words of [
      ['picocom', '-q', '--exit', '--noinit', path],
      ['socat', '-u', '/dev/null', `FILE:${path},flock-nb`],
    ]) {
      expect(spawnSync(words[0]!, words.slice(1), { encoding: 'utf8', input: '' })).toMatchObject({
        status: 0,
        stderr: '',
      })
    }
    // How the dead one has set it nobody can know to be wrong.
    const { stdout } = spawnSync('stty', ['-F', path, 'speed'], { encoding: 'utf8' })
    expect(stdout).toBe('19200\n')

    const agent = await lab.startAgent()
    await until('the relay is back', async () => (await relayOf(lab)).status.state === 'ready')
    using again = await openListener(portOf(await relayOf(lab)))
    again.socket.write('y')
    await until('it carries again', () => lab.received() === 'xy')
    expect(readFileSync(lockFileOf(path), 'utf8').trim()).toBe(String(agent.pid))
    await lab.fleet.cat(['revoke', 'relay/lab'])
    expect(existsSync(lockFileOf(path))).toBe(false)
    expect(sttyOf(path)).toContain('speed 19200')
  },
  patience,
)

describe('a device that hangs up', () => {
  /** How it is going when it does: resolves when that is so. */
  const goings = {
    'while bytes flow from it': async (client: TestClient, port: FakePort) => {
      const heard = once(client, 'data')
      await until('they flow', () => {
        port.far.write('flowing')
        return client.bytesRead > 0
      })
      await heard
    },
    'while nobody reads': async (client: TestClient, port: FakePort) => {
      client.pause()
      port.far.write(plenty)
      await unchanged(() => port.far.writableLength)
    },
    'while it is written to': async (client: TestClient, port: FakePort) => {
      client.resume()
      port.far.pause()
      client.write(plenty)
      await unchanged(() => client.bytesWritten - client.writableLength)
    },
  } as const

  for (const [going, begin] of Object.entries(goings)) {
    withLab(
      `${going} ends the connection of one who has it alone`,
      async () => {
        await using lab = await openLab()
        const port = await createRelay(lab, `SERIAL:${lab.port.path}`)
        await using client = await openClient(port)
        await until('it is open', () => existsSync(lockFileOf(lab.port.path)))
        await begin(client, lab.port)
        const processor = await afterUnplugging(lab)
        await until('it is over', async () => (await connectionsOf(lab)).length === 0)
        expect(lab.agent.output()).toMatch(/the device has gone/)
        expect(processor).toBeLessThan(0.5)
      },
      patience,
    )

    withLab(
      `${going} is waited for where it is shared, also under another number, and costs nothing meanwhile`,
      async () => {
        await using scratch = await openScratch()
        const name = join(scratch.path, 'console')
        await using lab = await openLab({ permit: [`SERIAL:${name}`, 'SERIAL:/dev/pts/*'] })
        await symlink(lab.port.path, name)
        const port = await createRelay(lab, `SERIAL:${name},share,notices=0`)
        await using client = await openClient(port)
        await until('it is open', () => existsSync(lockFileOf(lab.port.path)))
        await begin(client, lab.port)
        await rm(name)
        const processor = await afterUnplugging(lab)
        await until('it has let go', () => !existsSync(lockFileOf(lab.port.path)))
        await using other = await openFakePort()
        lab.lines.add(other.path)
        await symlink(other.path, `${name}.new`)
        await rename(`${name}.new`, name)
        await until('it is found', () => existsSync(lockFileOf(other.path)))
        let text = ''
        client.on('data', bytes => {
          text = (text + bytes.toString('latin1')).slice(-100)
        })
        client.resume()
        await until('it goes on', () => {
          other.far.write('back again')
          return text.includes('back again')
        })
        expect(await connectionsOf(lab)).toHaveLength(1)
        expect(processor).toBeLessThan(0.5)
      },
      patience,
    )
  }
})

/** Resolves when a number has been the same for a good while. */
async function unchanged(look: () => number): Promise<void> {
  let last = look()
  let same = 0
  await until('nothing moves any more', () => {
    const now = look()
    same = now === last ? same + 1 : 0
    last = now
    return same > 60
  })
}

/** How much of a processor the agent has taken for itself in the second behind the hang-up. */
async function afterUnplugging({ agent, port }: Lab): Promise<number> {
  await port.unplug()
  const [began, before] = [performance.now(), processorMs(agent.pid)]
  await until('a second has passed', () => performance.now() - began > 1_000)
  return (processorMs(agent.pid) - before) / (performance.now() - began)
}

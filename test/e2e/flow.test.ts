import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openClient, openServer } from '../resources/servers.ts'
import { until } from '../resources/until.ts'
import { openFleet } from './fleet.ts'

const patience = 60_000

/** A server that keeps what it hears. */
async function openListener() {
  const heard: Buffer[] = []
  const server = await openServer(socket => socket.on('data', bytes => heard.push(bytes)).resume())
  return Object.assign(server, { text: () => Buffer.concat(heard).toString() })
}

test(
  'what create says of the bytes is what happens to them, what export writes, and what apply changes',
  async () => {
    await using stack = new AsyncDisposableStack()
    const fleet = stack.use(await openFleet())
    await fleet.startController()
    const wire = join(fleet.folder, 'wire.log')
    const agent = await fleet.startAgent('edge-1', {
      args: ['--permit', `OPEN:${fleet.folder}/*,append,creat,wronly`],
    })
    const [target, copy] = [stack.use(await openListener()), stack.use(await openListener())]
    const create = [
      'create',
      'seen',
      '--on',
      'edge-1',
      'TCP4-LISTEN:0,bind=127.0.0.1,fork',
      `TCP4:127.0.0.1:${target.port}`,
      '-u',
      '--timestamp',
      '--throttle',
      '10MB/s',
      '--tee',
      `TCP4:127.0.0.1:${copy.port}`,
      '--dump',
      'text',
      '--dump-file',
      wire,
      '--dump-rotate',
      '1MiB',
    ]
    await fleet.cat([...create, '--wait'])
    expect((await fleet.cat(create)).stdout).toBe('relay/seen unchanged\n')
    await fleet.cat([...create, '--dump-keep', '2'], 5)
    const port = async () => {
      const { status } = await fleet.json(['describe', 'relay/seen'])
      return Number(status.agents[0].local[0].split(':').at(-1))
    }

    const client = stack.use(await openClient(await port()))
    client.write('hello\n')
    const stamped = /^\d{4}-\d\d-\d\dT[0-9:.]+\S* hello\n$/
    await until('the target has it', () => stamped.test(target.text()))
    await until('the copy has it', () => stamped.test(copy.text()))
    await until('the dump has it', async () => (await readFile(wire, 'utf8')).includes('hello'))
    const { spec } = await fleet.json(['describe', 'relay/seen'])
    expect(spec).toMatchObject({
      unidirectional: 'forward',
      timestamp: true,
      throttle: '10MB/s',
      tee: [`TCP4:127.0.0.1:${copy.port}`],
      dump: { format: 'text', file: wire, rotate: '1MiB' },
    })

    const file = join(fleet.folder, 'seen.yaml')
    const { stdout: exported } = await fleet.cat(['export'])
    await writeFile(file, exported)
    await fleet.cat(['diff', '-f', file])
    await writeFile(file, exported.replace('timestamp: true', 'timestamp: false'))
    expect((await fleet.cat(['diff', '-f', file], 1)).stdout).toContain('- spec.timestamp: true')
    await fleet.cat(['apply', '-f', file])
    // Other settings are another plan: the relay is opened anew.
    await until('the old connection is closed', () => client.closed)
    await fleet.cat(['wait', 'relay/seen', '--for', 'ready'])
    const again = stack.use(await openClient(await port()))
    again.write('plain\n')
    await until('the target has it', () => target.text().endsWith('\nplain\n'))
    expect(agent.output()).not.toContain('"level":"error"')
  },
  patience,
)

test(
  'a dump into a file that the host does not permit is refused with the line to add',
  async () => {
    await using fleet = await openFleet()
    await fleet.startController()
    await fleet.startAgent('edge-1')
    const listen = 'TCP4-LISTEN:0,bind=127.0.0.1,fork'
    const words = [
      'create',
      'x',
      listen,
      'DISCARD',
      '--dump',
      'hex',
      '--dump-file',
      '/var/log/x.log',
      '--wait',
    ]
    const { stdout } = await fleet.cat(words, 6)
    expect(stdout).toContain('add "OPEN:/var/log/x.log')
  },
  patience,
)

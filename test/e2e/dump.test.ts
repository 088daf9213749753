import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { launcher, type Program, startProgram } from '../resources/program.ts'
import { openEchoServer } from '../resources/servers.ts'
import { until } from '../resources/until.ts'
import { type Fleet, openFleet } from './fleet.ts'

const patience = 60_000
const agents: Program[] = []
let held: AsyncDisposableStack
let fleet: Fleet
let controller: Program
let target: string

beforeAll(async () => {
  held = new AsyncDisposableStack()
  fleet = held.use(await openFleet())
  controller = await fleet.startController()
  for (const name of ['edge-1', 'edge-2']) agents.push(await fleet.startAgent(name))
  target = `TCP4:127.0.0.1:${held.use(await openEchoServer()).port}`
}, patience)
afterAll(() => held.disposeAsync())

async function relay(name: string, ...more: string[]): Promise<number> {
  const on = more.includes('--on') ? [] : ['--on', 'edge-1']
  await fleet.cat(['create', name, ...on, 'TCP4-LISTEN:0,bind=127.0.0.1,fork', target, '--wait', ...more])
  return (await ports(name))[0]!
}

async function ports(name: string): Promise<number[]> {
  const { status } = await fleet.json(['describe', `relay/${name}`])
  return status.agents.map(({ local }: { local: string[] }) => Number(local[0]!.split(':').at(-1)))
}

const dump = (...words: string[]) => [launcher, 'dump', ...words]

/** Somebody who looks; so many agents show it by now. */
async function look(stack: AsyncDisposableStack, command: string[], shown = 1): Promise<Program> {
  const began = () => agents.map(agent => agent.output().split('"event":"dump.began"').length - 1)
  const count = () => began().reduce((sum, n) => sum + n, 0)
  const before = count()
  const eye = stack.use(startProgram(command, { env: { FLEETCAT_HOME: join(fleet.folder, 'home') } }))
  await until('the agents show it', () => count() === before + shown)
  return eye
}

async function client(stack: AsyncDisposableStack, port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  stack.defer(() => void socket.destroy())
  socket.on('error', () => {})
  await once(socket, 'connect')
  return socket
}

async function exchange(socket: Socket, text: string): Promise<void> {
  socket.write(text)
  await once(socket, 'data')
}

test(
  'a dump waits for a connection, shows both ways, and ends with exit 0 when the relay is revoked',
  async () => {
    await using stack = new AsyncDisposableStack()
    const port = await relay('web')
    const eye = await look(stack, dump('web'))
    const socket = await client(stack, port)
    await exchange(socket, 'hello\n')
    await eye.says(
      /^> [0-9/]+ [0-9:.]+ {2}length=6 from=0 to=5 connection=c-\S+\n 68 65 6c 6c 6f 0a +hello\.\n--$/m,
    )
    await eye.says(/^< .*length=6 from=0 to=5/m)
    await fleet.cat(['revoke', 'relay/web'])
    const { code, stderr } = await eye.ended
    expect(stderr).toContain('What passes through relay/web on edge-1; Ctrl-C ends it')
    expect(stderr).toMatch(/revoked/)
    expect(code).toBe(0)
  },
  patience,
)

test(
  'one of two connections alone, until it is over, with its last bytes, as lines for scripts',
  async () => {
    await using stack = new AsyncDisposableStack()
    const port = await relay('one')
    const [first, second] = [await client(stack, port), await client(stack, port)]
    await exchange(first, 'first')
    await exchange(second, 'other')
    const { items } = await fleet.json(['connections', '--relay', 'one'])
    const source = `127.0.0.1:${first.localPort}`
    const { id } = items.find((each: { source: string }) => each.source === source)
    const eye = await look(stack, dump(`conn/${id}`, '-o', 'jsonl', '--direction', 'forward'))
    await exchange(second, 'not mine')
    await exchange(first, 'once more, ')
    first.end('last words')
    const { code, stdout } = await eye.ended
    const lines = stdout
      .trim()
      .split('\n')
      .map(line => JSON.parse(line))
    expect(lines[0]).toMatchObject({
      apiVersion: 'fleetcat/v1',
      kind: 'DumpFrame',
      agent: 'edge-1',
      relay: 'one',
      connection: id,
      source,
      target,
      direction: 'forward',
    })
    const text = lines.map(({ data }) => Buffer.from(data, 'base64').toString()).join('')
    expect(text).toBe('once more, last words')
    expect(code).toBe(0)
  },
  patience,
)

test(
  'of several agents each line says whose it is, and the log of the controller when nobody looks any more',
  async () => {
    await using stack = new AsyncDisposableStack()
    await relay('both', '--on', 'edge-1', '--on', 'edge-2', '--dump', 'text')
    const eye = await look(stack, dump('both'), 2)
    for (const port of await ports('both')) {
      const socket = await client(stack, port)
      await exchange(socket, `to ${port}\n`)
      await eye.says(new RegExp(`to ${port}`))
    }
    const ended = () => controller.output().split('"event":"dump.ended"').length
    const before = ended()
    eye.kill('SIGINT')
    const { code, stdout } = await eye.ended
    expect(code).toBe(130)
    const lines = stdout.trim().split('\n')
    expect(lines.filter(line => !/^edge-[12] \| /.test(line))).toEqual([])
    expect(lines).toContainEqual(expect.stringMatching(/^edge-2 \| to \d+$/))
    await until('the log says that it ended', () => ended() > before)
  },
  patience,
)

test(
  'a reader that does not read slows nothing, and is told how much it missed',
  async () => {
    await using stack = new AsyncDisposableStack()
    const port = await relay('fast')
    const go = join(fleet.folder, 'go')
    const reader = '{ head -c 1; until [ -e "$2" ]; do sleep 0.02; done; cat >/dev/null; }'
    const script = `"$1" dump fast -o raw --direction forward | ${reader}`
    const eye = await look(stack, ['sh', '-c', script, 'sh', launcher, go])
    const socket = await client(stack, port)
    await exchange(socket, 'x')
    await eye.says(/^x/)
    const size = 64 * 1024 * 1024
    let back = 0
    socket.on('data', ({ length }) => {
      back += length
    })
    socket.write(Buffer.alloc(size, 'y'))
    await until('all has come back', () => back >= size)
    await writeFile(go, '')
    await eye.says(/… \d+ bytes not shown/)
    await fleet.cat(['revoke', 'relay/fast'])
    await eye.ended
  },
  patience,
)

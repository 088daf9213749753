import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Fleet, openFleet } from '../e2e/fleet.ts'
import { needing } from '../resources/needs.ts'
import { freePort } from '../resources/ports.ts'
import { launcher, type Outcome, type Program, run, startProgram } from '../resources/program.ts'
import { openServer } from '../resources/servers.ts'
import { until } from '../resources/until.ts'

let fleet: Fleet
let controller: Program
beforeAll(async () => {
  fleet = await openFleet()
  controller = await fleet.startController()
  await fleet.startAgent('db-1')
}, 60_000)
afterAll(async () => await fleet[Symbol.asyncDispose]())

const env = () => ({ env: { FLEETCAT_HOME: join(fleet.folder, 'home') } })
const fleetcat = (args: readonly string[], input = ''): Promise<Outcome> =>
  run([launcher, ...args], { ...env(), input })
const start = (...args: string[]) => startProgram([launcher, ...args], env())

async function read(socket: Socket): Promise<string> {
  let text = ''
  for await (const chunk of socket) text += chunk
  return text
}

describe('what is wrong is said before anybody comes', () => {
  test.each([
    ['an odd number of words', ['forward', '15432'], 2, /to each LISTEN belongs an @AGENT\/ADDRESS/],
    ['no agent', ['forward', '15432', 'TCP4:127.0.0.1:1'], 2, /names no agent.*@db-1/],
    ['no agent', ['pipe', 'TCP4:127.0.0.1:1'], 2, /names no agent.*@AGENT\/ADDRESS/],
    ['a target as a listener', ['forward', 'TCP4:h:1', '@db-1/TCP4:h:1'], 2, /cannot wait for connections/],
    ['a listener as a target', ['pipe', '@db-1/TCP4-LISTEN:1'], 2, /a target is connected to/],
    ['a misspelt kind', ['pipe', '@db-1/TPC4:h:1'], 2, /Did you mean `TCP4`/],
    [
      'an unknown agent',
      ['pipe', '@db-2/TCP4:127.0.0.1:1'],
      4,
      /no agent called db-2.*Did you mean `@db-1\/`/,
    ],
    ['an unknown agent', ['forward', '0', '@db-2/TCP4:127.0.0.1:1'], 4, /no agent called db-2/],
    ['what the ceiling has not', ['pipe', '@db-1/SYSTEM:id'], 3, /add "SYSTEM:id" under permit:/],
    ['a port that is closed', ['pipe', '@db-1/TCP4:127.0.0.1:9'], 1, /nothing listens there/],
  ])('%s', async (_, words, code, message) => {
    const outcome = await fleetcat(words)
    expect(outcome.stderr).toMatch(message)
    expect(outcome).toMatchObject({ code, stdout: '' })
  })

  test('a relay to a host that is not there yet is made, and the host is named', async () => {
    const words = [
      'create',
      'early',
      'TCP4-LISTEN:1,bind=127.0.0.1,fork',
      '@db-2/TCP4:127.0.0.1:1',
      '--dry-run',
    ]
    const outcome = await fleetcat(words)
    expect(outcome).toMatchObject({ code: 0, stderr: 'There is no agent db-2 yet. Did you mean @db-1?\n' })
    const known = await fleetcat(words.map(word => word.replace('@db-2', '@DB-1')))
    expect(known).toMatchObject({ code: 0, stderr: '' })
  })

  test('a port that is taken is exit 5', async () => {
    await using taken = await openServer(() => {})
    const outcome = await fleetcat(['forward', String(taken.port), '@db-1/ECHO'])
    expect(outcome).toMatchObject({ code: 5 })
    expect(outcome.stderr).toMatch(/in use/)
  })
})

describe('pipe', () => {
  test('carries both ways, and what was said last before the end', async () => {
    const text = 'a line of text that goes there and back\n'.repeat(50_000)
    expect(await fleetcat(['pipe', '@db-1/ECHO'], text)).toMatchObject({ code: 0, stdout: text })
  })

  test('waits for an answer that takes its time after standard input has ended', async () => {
    await using server = await openServer(async socket => {
      const question = await read(socket)
      // The server's own time: longer than a pipe waits when it is the server that has ended.
      await new Promise(resolve => setTimeout(resolve, 1_200))
      socket.end(`the answer to ${question}`)
    })
    const outcome = await fleetcat(['pipe', `@db-1/TCP4:127.0.0.1:${server.port}`], 'everything')
    expect(outcome).toMatchObject({ code: 0, stdout: 'the answer to everything' })
  })

  test('ends when the server has ended, though standard input goes on', async () => {
    await using server = await openServer(socket => void socket.end('that is all'))
    await using pipe = startProgram(
      ['sh', '-c', `sleep 600 | ${launcher} pipe @db-1/TCP4:127.0.0.1:${server.port}; echo "exit $?"`],
      env(),
    )
    await pipe.says(/that is all/)
    // The shell waits for sleep, too.
    await until('the connection is over', async () => (await fleet.json(['connections'])).items.length === 0)
  })

  test('a server that resets is exit 1, and says so', async () => {
    await using server = await openServer(socket => void socket.resetAndDestroy())
    const outcome = await fleetcat(['pipe', `@db-1/TCP4:127.0.0.1:${server.port}`])
    expect(outcome.code).toBe(1)
    expect(outcome.stderr).toMatch(/reset/)
  })

  needing('socat')('holds up a writer whose reader is slow, and loses nothing', async () => {
    const outcome = await run(
      ['sh', '-c', `head -c 50000000 /dev/zero | ${launcher} pipe @db-1/ECHO | (sleep 1; wc -c)`],
      env(),
    )
    expect(outcome.stdout.trim()).toBe('50000000')
  })

  test('is cut by a revoke of its connection, and says why', async () => {
    await using server = await openServer(socket => void socket.write('hello'))
    await using pipe = startProgram(
      ['sh', '-c', `sleep 600 | ${launcher} pipe @db-1/TCP4:127.0.0.1:${server.port}`],
      env(),
    )
    await pipe.says(/hello/)
    const [connection] = await until('it is listed', async () => {
      const { items } = await fleet.json(['connections'])
      return items.length === 1 && items
    })
    expect(connection.tunnel).toMatchObject({ answeredBy: 'db-1', purpose: 'pipe', way: 'controller' })
    const { receipts } = await fleet.json(['revoke', `conn/${connection.id}`, '--reason', 'lunch'])
    expect(receipts).toMatchObject([{ agent: 'db-1', verdict: 'cut', connectionsCut: 1 }])
    await pipe.says(/lunch/)
  })
})

describe('forward', () => {
  test('several pairs at once, of any kind that listens', async () => {
    const path = join(fleet.folder, 'echo.sock')
    await using forward = start(
      'forward',
      `UNIX-LISTEN:${path},fork`,
      '@db-1/ECHO',
      'TCP4-LISTEN:0,fork,bind=127.0.0.1',
      '@db-1/STATUS',
    )
    await forward.says(/echo\.sock leads to @db-1\/ECHO/)
    const [, port] = await forward.says(/127\.0\.0\.1:(\d+) leads to @db-1\/STATUS/)
    const echo = connect(path)
    echo.end('there and back')
    expect(await read(echo)).toBe('there and back')
    const status = connect(Number(port), '127.0.0.1')
    expect((await read(status)).length).toBeGreaterThan(3)
  })

  test('ends with 130 on Ctrl-C and 0 on SIGTERM, and cuts nobody else', async () => {
    for (const [signal, code] of [
      ['SIGINT', 130],
      ['SIGTERM', 0],
    ] as const) {
      await using forward = start('forward', 'TCP4-LISTEN:0,fork,bind=127.0.0.1', '@db-1/ECHO')
      await forward.says(/leads to/)
      forward.kill(signal)
      expect((await forward.ended).code).toBe(code)
    }
  })

  test('the next connection opens another tunnel after the controller or the agent has been away', async () => {
    const listen = await freePort()
    await using forward = start('forward', String(listen), '@db-1/ECHO')
    await forward.says(/a tunnel stands/)
    const echoes = async () => {
      const socket = connect(listen, '127.0.0.1')
      socket.on('error', () => {})
      socket.end('hello')
      return (await read(socket).catch(() => '')) === 'hello'
    }
    expect(await echoes()).toBe(true)
    controller.kill('SIGKILL')
    await controller.ended
    await forward.says(/the tunnel was lost/)
    controller = await fleet.startController()
    await until('it works again', echoes, 30_000)
    expect(await fleetcat(['pipe', '@db-1/ECHO'], 'hello')).toMatchObject({ code: 0 })
  }, 60_000)
})

needing(
  'ssh',
  'sshd',
  'ssh-keygen',
)('ssh goes through pipe as its ProxyCommand', async () => {
  const port = await freePort()
  const key = join(fleet.folder, 'key')
  const host = join(fleet.folder, 'host')
  for (const file of [key, host]) await run(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', file])
  await run(['mkdir', '-p', '/run/sshd'])
  const settings = [
    `AuthorizedKeysFile=${key}.pub`,
    `HostKey=${host}`,
    `ListenAddress=127.0.0.1:${port}`,
    'StrictModes=no',
    'UsePAM=no',
    'PidFile=none',
  ]
  await using sshd = startProgram([
    '/usr/sbin/sshd',
    '-D',
    '-e',
    '-f',
    '/dev/null',
    ...settings.flatMap(s => ['-o', s]),
  ])
  await sshd.says(/Server listening/)
  const proxy = `${launcher} pipe @db-1/TCP4:127.0.0.1:${port}`
  const options = [
    `ProxyCommand=${proxy}`,
    'StrictHostKeyChecking=no',
    'UserKnownHostsFile=/dev/null',
    'BatchMode=yes',
  ]
  const command = [
    'ssh',
    '-F',
    'none',
    '-i',
    key,
    ...options.flatMap(o => ['-o', o]),
    'db-1',
    'seq 1 100000; exit 7',
  ]
  const outcome = await run(command, env())
  expect(outcome.code).toBe(7)
  expect(outcome.stdout.trimEnd().split('\n')).toHaveLength(100_000)
})

test('a tunnel is refused for an agent that has gone, with its state', async () => {
  const gone = await fleet.startAgent('web-1')
  gone.kill('SIGKILL')
  await gone.ended
  await until('it is missed', async () => {
    const { code, stderr } = await fleetcat(['pipe', '@web-1/ECHO'])
    return code === 1 && /agent\/web-1 is not connected/.test(stderr)
  })
})

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import { openDatagramSocket } from '#test/resources/datagram-sockets.ts'
import { openFolder } from '#test/resources/folder.ts'
import { needing } from '#test/resources/needs.ts'
import { run, startProgram } from '#test/resources/program.ts'
import { openTestRelay } from '#test/resources/relays.ts'
import { openEchoServer } from '#test/resources/servers.ts'
import { until } from '#test/resources/until.ts'

const test = needing('socat')

async function freePort(): Promise<number> {
  await using socket = await openDatagramSocket()
  return socket.port
}

/** A socat that has its port; `udp6` where it has one of IPv6. */
async function startSocat(port: number, ...args: string[]) {
  const program = startProgram(['socat', ...args])
  await until('socat has its port', async () => {
    const tables = await Promise.all(['udp', 'udp6'].map(name => readFile(`/proc/net/${name}`, 'latin1')))
    const hex = port.toString(16).toUpperCase().padStart(4, '0')
    return tables.join('').includes(`:${hex} `)
  })
  return program
}

/** Says it, and waits a little for answers: UDP has no end. */
const ask = async (input: string, address: string) =>
  (await run(['socat', '-t', '0.5', '-', address], { input })).stdout

for (const [version, host] of [
  ['4', '127.0.0.1'],
  ['6', '[::1]'],
] as const) {
  test(`a socat asks a socat through a relay, over UDP${version}`, async () => {
    const port = await freePort()
    await using _server = await startSocat(port, `UDP${version}-LISTEN:${port},bind=${host},fork`, 'PIPE')
    await using relay = await openTestRelay({
      listen: `UDP${version}-LISTEN:0,bind=${host},fork`,
      targets: [`UDP${version}:${host}:${port}`],
    })
    expect(await ask('a question\n', `UDP${version}:${host}:${relay.port}`)).toBe('a question\n')
    expect(await ask('another\n', `UDP${version}-SENDTO:${host}:${relay.port}`)).toBe('another\n')
    expect(relay.opened.map(({ bytesIn, bytesOut }) => [bytesIn, bytesOut])).toEqual([
      [11, 11],
      [8, 8],
    ])
  })
}

test('socat and fleetcat as servers give the same answers to the same client', async () => {
  const port = await freePort()
  await using _server = await startSocat(port, `UDP4-RECVFROM:${port},fork`, 'EXEC:tr a-z A-Z')
  await using relay = await openTestRelay({
    listen: 'UDP4-RECVFROM:0,bind=127.0.0.1,fork',
    targets: [`UDP4-SENDTO:127.0.0.1:${port}`],
  })
  await using client = await openDatagramSocket()
  for (const [turn, to] of [port, relay.port, relay.port].entries()) {
    await client.send('hello', to)
    expect(await client.reply(turn + 1)).toBe('HELLO')
  }
  expect(relay.opened.length).toBe(2)
})

test('what socat sends is collected, and what is collected reaches a socat', async () => {
  await using folder = await openFolder()
  const file = join(folder.path, 'collected')
  const port = await freePort()
  await using _server = await startSocat(port, '-u', `UDP4-RECV:${port}`, `CREATE:${file}`)
  await using relay = await openTestRelay({
    listen: 'UDP4-RECV:0,bind=127.0.0.1',
    targets: [`UDP4-SENDTO:127.0.0.1:${port}`],
  })
  for (const input of ['one\n', 'two\n', 'three\n']) {
    const { code } = await run(['socat', '-u', '-', `UDP4-SENDTO:127.0.0.1:${relay.port}`], { input })
    expect(code).toBe(0)
  }
  await until('all is in the file', async () => (await readFile(file, 'utf8')) === 'one\ntwo\nthree\n')
})

test('a TCP client of socat asks a UDP server of socat', async () => {
  const port = await freePort()
  await using _server = await startSocat(port, `UDP4-LISTEN:${port},fork`, 'PIPE')
  await using relay = await openTestRelay({ targets: [`UDP4:127.0.0.1:${port}`] })
  expect(await ask('over UDP\n', `TCP4:127.0.0.1:${relay.port}`)).toBe('over UDP\n')
})

test('a UDP client of socat talks through a TCP connection', async () => {
  await using server = await openEchoServer()
  await using relay = await openTestRelay({
    listen: 'UDP4-LISTEN:0,bind=127.0.0.1,fork',
    targets: [`TCP4:127.0.0.1:${server.port}`],
  })
  expect(await ask('over TCP\n', `UDP4:127.0.0.1:${relay.port}`)).toBe('over TCP\n')
})

test('an end goes through UDP as an empty datagram, where both sides are told to', async () => {
  const port = await freePort()
  await using server = await startSocat(port, '-u', `UDP4-RECV:${port},null-eof`, '-')
  await using relay = await openTestRelay({ targets: [`UDP4:127.0.0.1:${port},shut-null`] })
  await run(['socat', '-u', '-', `TCP4:127.0.0.1:${relay.port}`], { input: 'all there is\n' })
  expect(await server.ended).toMatchObject({ code: 0, stdout: 'all there is\n' })
})

for (const [kind, says] of [
  ['UDP4', true],
  ['UDP4-SENDTO', false],
] as const) {
  test(`${kind} tells of a port that nobody has ${says ? 'as' : 'as little as'} socat does`, async () => {
    const port = await freePort()
    await using theirs = startProgram([
      'socat',
      '-T',
      '1',
      `${kind}:127.0.0.1:${port}`,
      'SYSTEM:echo hello; sleep 0.4; echo hello',
    ])
    await using relay = await openTestRelay({
      listen: 'UDP4-LISTEN:0,bind=127.0.0.1,fork',
      targets: [`${kind}:127.0.0.1:${port}`],
      limits: { idleTimeoutMs: 500 },
    })
    await using client = await openDatagramSocket()
    await client.send('hello', relay.port)
    await until('it is over', () => relay.closed.length === 1)
    const { code, stderr } = await theirs.ended
    expect([code === 0, /Connection refused/.test(stderr)]).toEqual([!says, says])
    expect(relay.closed[0]).toMatchObject(
      says ? { cause: 'failed', error: { code: 'refused' } } : { cause: 'idle' },
    )
  })
}

test('a multicast group is shared with socat, both ways', async () => {
  const port = await freePort()
  const group = '224.255.0.7'
  await using folder = await openFolder()
  const file = join(folder.path, 'heard')
  await using _member = await startSocat(
    port,
    '-u',
    `UDP4-RECV:${port},reuseaddr,ip-add-membership=${group}:127.0.0.1`,
    `CREATE:${file}`,
  )
  await using client = await openDatagramSocket()
  await using relay = await openTestRelay({
    listen: 'UDP4-LISTEN:0,bind=127.0.0.1,fork',
    targets: [
      `UDP4-DATAGRAM:${group}:${port},bind=:${port},reuseaddr,ip-add-membership=${group}:lo,ip-multicast-if=lo`,
    ],
  })
  await client.send('from fleetcat\n', relay.port)
  await until(
    'socat has heard it',
    async () => (await readFile(file, 'utf8').catch(() => '')) === 'from fleetcat\n',
  )
  const sent = await run(['socat', '-u', '-', `UDP4-DATAGRAM:${group}:${port},ip-multicast-if=127.0.0.1`], {
    input: 'from socat\n',
  })
  expect(sent.stderr).toBe('')
  await client.reply(2)
  // Who speaks on the loopback hears itself, whatever `ip-multicast-loop` says.
  expect(client.got.map(({ text }) => text)).toEqual(['from fleetcat\n', 'from socat\n'])
})

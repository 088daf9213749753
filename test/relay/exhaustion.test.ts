import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { openTestRelay } from '#test/resources/relays.ts'
import { openClient, openEchoServer, openServer, type TestClient } from '#test/resources/servers.ts'
import { ended } from '#test/resources/streams.ts'
import { until } from '#test/resources/until.ts'

const mebibyte = 1_048_576

for (const way of ['into a server', 'into a client'] as const) {
  test(`ten gigabytes ${way} that does not read stay with their sender`, async () => {
    const flood = () =>
      spawn('socat', [
        '-u',
        '-b',
        '262144',
        'OPEN:/dev/zero,readbytes=10737418240',
        `TCP4:127.0.0.1:${test.port}`,
      ])
    const source = Buffer.alloc(mebibyte)
    const pour = (socket: NodeJS.WritableStream) => {
      while (socket.write(source));
      socket.once('drain', () => pour(socket))
    }
    await using server = await openServer(socket => {
      if (way === 'into a client') pour(socket)
    })
    await using test = await openTestRelay({ targets: [`TCP4:127.0.0.1:${server.port}`] })
    const before = process.memoryUsage().rss
    const sender = way === 'into a server' ? flood() : undefined
    const client = sender ? undefined : await openClient(test.port)
    const exited = sender && once(sender, 'exit')
    try {
      const carried = () => {
        const [connection] = test.relay.connections.values()
        return connection ? connection.bytesIn + connection.bytesOut : 0
      }
      await until('bytes flow', () => carried() > 0)
      let [last, since] = [carried(), performance.now()]
      await until('nothing has moved for a while', () => {
        if (carried() !== last) [last, since] = [carried(), performance.now()]
        return performance.now() - since > 300
      })
      expect(last).toBeLessThan(64 * mebibyte)
      expect(process.memoryUsage().rss - before).toBeLessThan(64 * mebibyte)
    } finally {
      sender?.kill('SIGKILL')
      await exited
      await client?.[Symbol.asyncDispose]()
    }
  })
}

test('when descriptors run short, newcomers are refused and counted, a revoke works, and it recovers', async () => {
  await using server = await openEchoServer()
  const program = fileURLToPath(new URL('programs/relay-with-few-descriptors.ts', import.meta.url))
  const command = `ulimit -n 256 && exec "${process.execPath}" "${program}" ${server.port}`
  const relay = spawn('sh', ['-c', command], { stdio: ['pipe', 'pipe', 'inherit'] })
  const exited = once(relay, 'exit')
  const events: Record<string, unknown>[] = []
  const lines = createInterface(relay.stdout).on('line', line => events.push(JSON.parse(line)))
  const clients: (TestClient | undefined)[] = []
  try {
    await until('it listens', () => events.some(({ ready }) => ready))
    const port = Number(String(events[0]!.ready).split(':')[1])
    for (let i = 0; i < 300; i++) clients.push(await openClient(port).catch(() => undefined))
    await until('it refuses', () => events.some(({ refused }) => refused === 'descriptors'))
    expect(events.filter(event => 'failed' in event)).toEqual([])

    for (const client of clients.splice(0)) await client?.[Symbol.asyncDispose]()
    await until('their places are free', () => server.sockets.size === 0)
    await using stays = await openClient(port)
    await until('it is served', () => server.sockets.size === 1)
    await using late = await openClient(port)
    late.end('back again')
    await ended(late)

    relay.stdin.end()
    await until('it is aborted', () => events.some(({ listenersClosed }) => listenersClosed === 1))
    await until('nothing is left', () => server.sockets.size === 0)
    await until('its client has lost it', () => stays.resume().closed)
  } finally {
    for (const client of clients) await client?.[Symbol.asyncDispose]()
    relay.kill('SIGKILL')
    await exited
    lines.close()
  }
})

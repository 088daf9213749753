import { spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'
import { openEgress } from '#relay/egress.ts'
import { bindAddress } from '#relay/endpoints/index.ts'
import { openRelay } from '#relay/relay.ts'
import { openDatagramSocket } from '#test/resources/datagram-sockets.ts'
import { needing } from '#test/resources/needs.ts'
import { until } from '#test/resources/until.ts'

const mebibyte = 1_048_576
const made = 100_000
const program = fileURLToPath(new URL('programs/made-up-peers.py', import.meta.url))

/** A flood that pauses after every two hundred datagrams until it is told to go on. */
async function flood(port: number, between: (sent: number) => Promise<void>): Promise<void> {
  const sender = spawn('python3', [program, String(port), String(made)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const exited = once(sender, 'exit')
  try {
    for await (const line of createInterface({ input: sender.stdout })) {
      if (line === 'done') break
      await between(Number(line))
      sender.stdin.write('\n')
    }
  } finally {
    sender.stdin.end()
    await exited
  }
}

/** Answers those who ask for it, and remembers nobody. */
async function openSink() {
  const socket = createSocket('udp4')
  socket.on('message', (datagram, from) => {
    if (String(datagram) === 'hello') socket.send('hello', from.port, from.address)
  })
  await new Promise<void>(resolve => socket.bind(0, '127.0.0.1', resolve))
  return {
    port: socket.address().port,
    [Symbol.asyncDispose]: () => new Promise<void>(resolve => socket.close(() => resolve())),
  }
}

/** A relay whose observer counts and keeps nothing: what its memory grows by is the relay's. */
async function openCountingRelay(listen: string, target: string) {
  const counted = { opened: 0, closed: 0, refused: new Map<string, number>() }
  let id = 0
  const relay = openRelay(
    { id: 'relay-1', name: 'test', listen: bindAddress(listen), targets: [bindAddress(target)], limits: {} },
    {
      egress: openEgress,
      newConnectionId: () => `connection-${++id}`,
      observer: {
        state() {},
        opened: () => void counted.opened++,
        closed: () => void counted.closed++,
        refused: cause => void counted.refused.set(cause, (counted.refused.get(cause) ?? 0) + 1),
        failed() {},
      },
    },
  )
  await until('the relay is ready', () => relay.state.name === 'ready')
  const [local = ''] = relay.state.name === 'ready' ? relay.state.local : []
  return {
    relay,
    counted,
    port: Number(local.split(':').at(-1)),
    [Symbol.asyncDispose]: () => relay[Symbol.asyncDispose](),
  }
}

needing('root', 'python3')(
  'a hundred thousand made-up peers cost a bounded memory, and push out each other and nobody who was there',
  async () => {
    const room = 1_000
    await using sink = await openSink()
    await using test = await openCountingRelay(
      `UDP4-LISTEN:0,bind=0.0.0.0,fork,max-flows=${room}`,
      `UDP4:127.0.0.1:${sink.port}`,
    )
    const { relay, counted, port } = test
    await using client = await openDatagramSocket()
    let asked = 0
    const ask = async () => {
      await client.send('hello', port)
      await client.reply(++asked)
    }
    await ask()
    await ask()
    let before = 0
    let largest = 0
    let most = 0
    await flood(port, async sent => {
      await until('the relay has seen them all', () => counted.opened === sent + 1)
      const { rss } = process.memoryUsage()
      if (sent <= 20_000) before = Math.max(before, rss)
      largest = Math.max(largest, rss)
      most = Math.max(most, relay.connections.size)
      if (sent % 10_000 === 0) await ask()
    })
    await until('the last ones are there too', () => counted.opened === made + 1)
    await ask()
    expect([...counted.refused]).toEqual([['displaced', made + 1 - room]])
    expect(most).toBeLessThan(2 * room)
    await until('the displaced have gone', () => relay.connections.size === room)
    expect(relay.connections.has('connection-1')).toBe(true)
    expect(largest - before).toBeLessThan(64 * mebibyte)
  },
  120_000,
)

import {
  credentials,
  Server,
  ServerCredentials,
  type ServerReadableStream,
  type sendUnaryData,
} from '@grpc/grpc-js'
import { expect, test } from 'vitest'
import { openDumps } from '#agent/dumps.ts'
import {
  AgentServiceClient,
  AgentServiceService,
  DumpOrder,
  type SendDumpRequest,
  type SendDumpResponse,
} from '#gen/fleetcat/v1/agent.ts'
import { Direction, type DumpFrame, type Problem } from '#gen/fleetcat/v1/relay.ts'
import { RelayError } from '#relay/errors.ts'
import { openClient, openEchoServer, type TestClient } from '#test/resources/servers.ts'
import { until } from '#test/resources/until.ts'
import { channelOptions } from '#wire/channel.ts'
import { desired, openHost, silent } from './resources.ts'

/** What the controller's end has of one dump. */
interface Received {
  readonly frames: DumpFrame[]
  readonly end: Problem | undefined
  readonly isOpen: boolean
  pause(): void
  resume(): void
  /** Nobody looks any more. */
  answer(): void
}

/** A host whose dumps go to a real server, and an echo behind its relays. */
async function open() {
  const held = new AsyncDisposableStack()
  const received = new Map<string, Received>()
  const server = new Server()
  server.addService(AgentServiceService, {
    attach() {},
    sendDump(
      stream: ServerReadableStream<SendDumpRequest, SendDumpResponse>,
      answer: sendUnaryData<SendDumpResponse>,
    ) {
      const one = {
        frames: [] as DumpFrame[],
        end: undefined as Problem | undefined,
        isOpen: true,
        pause: () => void stream.pause(),
        resume: () => void stream.resume(),
        answer: () => answer(null, {}),
      }
      stream.on('data', ({ message }: SendDumpRequest) => {
        if (message?.$case === 'dumpId') received.set(message.value, one)
        if (message?.$case === 'frames') one.frames.push(...message.value.frames)
        if (message?.$case === 'end') one.end = message.value
      })
      for (const event of ['end', 'cancelled', 'error']) {
        stream.on(event, () => {
          one.isOpen = false
          if (event === 'end') answer(null, {})
        })
      }
    },
  })
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  )
  held.defer(() => server.forceShutdown())
  const echo = held.use(await openEchoServer())
  const host = held.use(openHost())
  const { reconciler } = host
  const dumps = held.use(
    openDumps({
      open: () => new AgentServiceClient(`127.0.0.1:${port}`, credentials.createInsecure(), channelOptions),
      watch: reconciler.watch,
      connections: host.roster.live,
      log: silent,
    }),
  )
  const relay = (generation: bigint, more = {}) =>
    desired('r-1', { generation, targets: [`TCP4:127.0.0.1:${echo.port}`], ...more })
  return {
    ...host,
    dumps,
    received,
    relay,
    begin(dumpId: string, more: Partial<DumpOrder> = {}) {
      dumps.begin(DumpOrder.fromPartial({ dumpId, relayId: 'r-1', ...more }))
      return until(`${dumpId} has come`, () => received.get(dumpId))
    },
    client: () => openClient(Number(reconciler.report('r-1')!.local[0]!.split(':').at(-1))),
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  }
}

async function say(client: TestClient, text: string): Promise<void> {
  const answered = new Promise(resolve => client.once('data', resolve))
  client.write(text)
  await answered
}

const heard = ({ frames }: Received, direction: Direction = Direction.FORWARD) =>
  frames
    .filter(frame => frame.direction === direction)
    .map(({ data }) => String(data))
    .join('')

test('a dump may begin before its relay, and goes on when that is opened anew', async () => {
  await using host = await open()
  const dump = await host.begin('d-1')
  await host.reconciler.sync([host.relay(1n)])
  await using first = await host.client()
  await say(first, 'one ')
  await until('it is shown', () => heard(dump) === 'one ')
  const [frame] = dump.frames
  expect(frame).toMatchObject({ source: `127.0.0.1:${first.localPort}`, from: 0n, skipped: 0n })
  expect([...host.roster.live.keys()]).toEqual([frame!.connectionId])

  await host.reconciler.apply([host.relay(2n, { throttle: 1_000_000n })], [])
  await using second = await host.client()
  await say(second, 'two')
  await until(
    'both are shown',
    () => heard(dump) === 'one two' && heard(dump, Direction.BACKWARD) === 'one two',
  )
  expect(dump.isOpen).toBe(true)

  dump.answer()
  await host.dumps[Symbol.asyncDispose]()
  await say(second, 'nobody looks')
  expect(heard(dump)).toBe('one two')
})

test('it ends with its relay, and says whether that was revoked', async () => {
  await using host = await open()
  await host.reconciler.sync([host.relay(1n)])
  const removed = await host.begin('removed')
  await host.reconciler.apply([], ['r-1'])
  await until('it has ended', () => removed.end)
  expect(removed.end).toMatchObject({ code: 'closed', what: 'relay/r-1 on edge-1' })

  const revoked = await host.begin('revoked', { relayId: 'r-2' })
  await host.reconciler.sync([desired('r-2')])
  await host.revocations.obey({
    revocationId: 'v-1',
    target: { $case: 'relayId', value: 'r-2' },
    reason: 'test',
    revision: 1n,
  })
  await until('it has ended', () => revoked.end)
  expect(revoked.end).toMatchObject({ code: 'revoked' })
  await until('its call is over', () => !revoked.isOpen)
})

test('of one connection nothing else is shown, but its last bytes are; one way only, where that was asked', async () => {
  await using host = await open()
  await host.reconciler.sync([host.relay(1n)])
  await using mine = await host.client()
  await say(mine, 'before')
  const [connectionId] = host.roster.live.keys()
  await using other = await host.client()
  const dump = await host.begin('one', { connectionId: connectionId!, direction: Direction.FORWARD })
  await say(other, 'other')
  await say(mine, ' and')
  mine.end(' after')
  mine.resume()
  await until('it has ended', () => dump.end)
  expect(dump.end).toMatchObject({ code: 'closed', what: `conn/${connectionId}` })
  expect(heard(dump)).toBe(' and after')
  expect(dump.frames[0]!.from).toBe(6n)
  expect(heard(dump, Direction.BACKWARD)).toBe('')

  const late = await host.begin('late', { connectionId: connectionId! })
  await until('it has ended', () => late.end)
})

test('a controller that does not read slows no relay, and hears later how much it missed', async () => {
  await using host = await open()
  await host.reconciler.sync([host.relay(1n)])
  await using client = await host.client()
  await until('it is there', () => host.roster.live.size > 0)
  const [connectionId] = host.roster.live.keys()
  const dump = await host.begin('slow', { connectionId: connectionId!, direction: Direction.FORWARD })
  dump.pause()
  const size = 32 * 1024 * 1024
  let back = 0
  client.on('data', ({ length }) => {
    back += length
  })
  client.write(Buffer.alloc(size))
  await until('all has come back', () => back === size)
  client.end()
  await until('it is over', () => host.roster.live.size === 0)
  dump.resume()
  await until('it has ended', () => dump.end)
  const count = () => dump.frames.reduce((sum, { data, skipped }) => sum + data.length + Number(skipped), 0)
  expect(count()).toBe(size)
  const shown = dump.frames.reduce((sum, { data }) => sum + data.length, 0)
  expect(shown).toBeGreaterThan(0)
  expect(shown).toBeLessThan(8 * 1024 * 1024)
})

test('so many at a time, and no more', async () => {
  await using host = await open()
  await host.reconciler.sync([host.relay(1n)])
  for (let i = 0; i < 16; i++) await host.begin(`d-${i}`)
  const one = await host.begin('one more')
  await until('it is refused', () => one.end)
  expect(one.end).toMatchObject({ code: 'exhausted' })
  host.received.get('d-0')!.answer()
  await using client = await host.client()
  await until('there is room', async () => {
    const next = await host.begin(`try-${host.received.size}`)
    await until('it is refused or shows', async () => {
      await say(client, 'x')
      return next.end || heard(next)
    })
    return heard(next)
  })
})

test('a controller that cannot be reached is no harm', async () => {
  await using host = openHost()
  const failing = openDumps({
    open: () => {
      throw new RelayError('expired', { what: 'the certificate', why: 'it has ended' })
    },
    watch: host.reconciler.watch,
    connections: host.roster.live,
    log: host.kept.log,
  })
  failing.begin(DumpOrder.fromPartial({ dumpId: 'd', relayId: 'r-1' }))
  expect(host.kept.has('what passes cannot be shown')).toBe(true)
  await failing[Symbol.asyncDispose]()

  await using nobody = openDumps({
    open: () => new AgentServiceClient('127.0.0.1:1', credentials.createInsecure(), channelOptions),
    watch: host.reconciler.watch,
    connections: host.roster.live,
    log: host.kept.log,
  })
  nobody.begin(DumpOrder.fromPartial({ dumpId: 'd', relayId: 'r-1' }))
  await until('it is over', () => host.kept.has('what passes is shown no longer'))
})

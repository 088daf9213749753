import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { describe, expect, test } from 'vitest'
import { DumpFormat, RelayState } from '#gen/fleetcat/v1/relay.ts'
import { until } from '#test/resources/until.ts'
import { toDuration } from '#wire/duration.ts'
import { desired, memory, openHost, permit } from './resources.ts'

/** A real server that answers with what it gets. */
async function openEcho() {
  const sockets = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true }, socket => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.pipe(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  return {
    port,
    target: `TCP4:127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

async function openClient(local: string | undefined) {
  const socket = connect({ port: Number(local!.split(':').at(-1)), host: '127.0.0.1' })
  const closed = new Promise<void>(resolve => socket.once('close', () => resolve()))
  await once(socket, 'connect')
  socket.on('error', () => {})
  return {
    socket,
    closed,
    async echo(text: string) {
      socket.write(text)
      const [data] = await once(socket, 'data')
      return String(data)
    },
    [Symbol.dispose]: () => socket.destroy(),
  }
}

const limits = {
  allowFrom: [],
  denyFrom: [],
  ratePerSecond: 0,
  idleTimeout: undefined,
  maxConnectionAge: undefined,
  ban: undefined,
}

describe('reconciler', () => {
  test('a Sync with the same relay keeps its listener and its connections', async () => {
    await using echo = await openEcho()
    await using host = openHost()
    const relay = desired('r-1', { targets: [echo.target] })
    await host.reconciler.sync([relay])
    const before = host.reconciler.report('r-1')!
    expect(before).toMatchObject({ state: RelayState.READY, generation: 1n })
    using client = await openClient(before.local[0])
    expect(await client.echo('one')).toBe('one')
    await host.reconciler.sync([desired('r-1', { targets: [echo.target] })])
    await host.reconciler.apply([desired('r-1', { targets: [echo.target], generation: 2n })], [])
    expect(host.reconciler.report('r-1')).toMatchObject({ generation: 2n, local: before.local })
    expect(await client.echo('two')).toBe('two')
    expect(host.roster.live.size).toBe(1)
  })

  test('changed limits hold for a relay that keeps running', async () => {
    await using echo = await openEcho()
    await using host = openHost()
    await host.reconciler.sync([desired('r-1', { targets: [echo.target] })])
    const { local } = host.reconciler.report('r-1')!
    using client = await openClient(local[0])
    expect(await client.echo('one')).toBe('one')
    const narrow = { ...limits, maxConnections: 1 }
    await host.reconciler.apply(
      [desired('r-1', { targets: [echo.target], generation: 2n, limits: narrow })],
      [],
    )
    expect(host.reconciler.report('r-1')).toMatchObject({ generation: 2n, local })
    const surplus = await openClient(local[0]).catch(() => undefined)
    await surplus?.closed
    expect(await client.echo('two')).toBe('two')
    await until(
      'the refusal is in the report',
      () => host.reconciler.report('r-1')!.refusals['max-connections'],
    )
  })

  test('other addresses close the old relay and open a new one', async () => {
    await using echo = await openEcho()
    await using host = openHost()
    await host.reconciler.sync([desired('r-1', { targets: ['MEMORY:nobody'] })])
    await host.reconciler.apply([desired('r-1', { targets: [echo.target], generation: 2n })], [])
    const report = host.reconciler.report('r-1')!
    expect(report).toMatchObject({ generation: 2n, state: RelayState.READY })
    using client = await openClient(report.local[0])
    expect(await client.echo('one')).toBe('one')
  })

  test('another setting of the flow opens it anew, and the same one leaves it alone', async () => {
    await using echo = await openEcho()
    await using host = openHost()
    const relay = { targets: [echo.target], throttle: 1_000_000n }
    await host.reconciler.sync([desired('r-1', relay)])
    using first = await openClient(host.reconciler.report('r-1')!.local[0])
    expect(await first.echo('one')).toBe('one')
    await host.reconciler.apply([desired('r-1', { ...relay, generation: 2n })], [])
    expect(await first.echo('two')).toBe('two')
    await host.reconciler.apply([desired('r-1', { ...relay, generation: 3n, throttle: 2_000_000n })], [])
    await first.closed
    using second = await openClient(host.reconciler.report('r-1')!.local[0])
    expect(await second.echo('three')).toBe('three')
  })

  test('where a copy or a dump may go is for the ceiling to say', async () => {
    await using host = openHost()
    const dump = { format: DumpFormat.HEX, file: '/var/log/../log/wire.log', rotateBytes: 0n, keep: 0 }
    await host.reconciler.sync([
      desired('r-1', { tee: ['UNIX-CONNECT:/run/x'] }),
      desired('r-2', { dump }),
      desired('r-3', { dump: { ...dump, format: 9 as DumpFormat } }),
      desired('r-4', { dump: { ...dump, file: '' }, tee: ['DISCARD'] }),
    ])
    expect(host.reconciler.report('r-1')?.problem?.fix).toContain('add "UNIX-CONNECT:/run/x" under permit:')
    expect(host.reconciler.report('r-2')?.problem?.fix).toContain(
      'add "OPEN:/var/log/wire.log,append,creat,wronly" under permit:',
    )
    expect(host.reconciler.report('r-3')?.problem?.code).toBe('usage')
    expect(host.reconciler.report('r-4')?.state).toBe(RelayState.READY)
  })

  test('what a Sync no longer names closes, with its connections', async () => {
    await using echo = await openEcho()
    await using host = openHost()
    await host.reconciler.sync([desired('r-1', { targets: [echo.target] }), desired('r-2')])
    using client = await openClient(host.reconciler.report('r-1')!.local[0])
    expect(await client.echo('one')).toBe('one')
    await host.reconciler.sync([desired('r-2')])
    await client.closed
    expect([...host.reconciler.relays()]).toEqual(['r-2'])
    expect(host.roster.live.size).toBe(0)
    expect(host.kept.has('relay removed')).toBe(true)
  })

  test('only the last of many desires counts', async () => {
    await using host = openHost()
    const work = []
    for (let i = 0; i < 20; i++) {
      const name = `target-${i}`
      work.push(
        host.reconciler.apply([desired('r-1', { targets: [`MEMORY:${name}`], generation: BigInt(i) })], []),
      )
      if (i % 3 === 0) work.push(host.reconciler.apply([], ['r-1']))
    }
    work.push(host.reconciler.apply([desired('r-1', { generation: 99n })], []))
    await Promise.all(work)
    expect(host.reconciler.report('r-1')).toMatchObject({ generation: 99n, state: RelayState.READY })
  })

  test('a port in use is reported with the time of the next try, and later as ready', async () => {
    await using host = openHost()
    const squatter = createServer()
    squatter.listen(0, '127.0.0.1')
    await once(squatter, 'listening')
    const { port } = squatter.address() as { port: number }
    await host.reconciler.sync([desired('r-1', { listen: `TCP4-LISTEN:${port},bind=127.0.0.1,fork` })])
    const report = host.reconciler.report('r-1')!
    expect(report).toMatchObject({ state: RelayState.REJECTED, problem: { code: 'address-in-use' } })
    expect(report.retryAt).toBeInstanceOf(Date)
    squatter.close()
    await until('it is ready', () => host.reconciler.report('r-1')!.state === RelayState.READY)
    expect(host.reconciler.report('r-1')!.local).toEqual([`127.0.0.1:${port}`])
  })

  test.each(['forever,interval=0.01', 'retry=100000,interval=0.01'])(
    'a listener with %s holds up neither a Sync nor a look at the ceiling, and says why it waits',
    async options => {
      await using host = openHost()
      const squatter = createServer()
      squatter.listen(0, '127.0.0.1')
      await once(squatter, 'listening')
      const { port } = squatter.address() as { port: number }
      const listen = `TCP4-LISTEN:${port},bind=127.0.0.1,fork,${options}`
      const started = performance.now()
      await host.reconciler.sync([desired('r-1', { listen }), desired('r-2')])
      expect(host.reconciler.report('r-1')).toMatchObject({
        state: RelayState.REJECTED,
        problem: { code: 'address-in-use', why: expect.stringContaining('in use') },
        retryAt: expect.any(Date),
      })
      expect(host.reconciler.report('r-2')!.state).toBe(RelayState.READY)
      await host.reconciler.recheck()
      expect(performance.now() - started).toBeLessThan(4_000)
      squatter.close()
      await until('it is ready', () => host.reconciler.report('r-1')!.state === RelayState.READY)
    },
  )

  test.each([
    ['TCP4-LISTEN:8080,fork', ['MEMORY:a'], 'denied'],
    ['TCP4-LISTEN:0,bind=127.0.0.1', ['TCP:169.254.169.254:80'], 'denied'],
    ['TCPP-LISTEN:8080', ['MEMORY:a'], 'usage'],
    ['TCP4-LISTEN:0,bind=127.0.0.1', ['TCP4-LISTEN:80'], 'usage'],
    ['TCP4-LISTEN:0,bind=127.0.0.1', [], 'usage'],
  ])('%s to %j is reported as rejected: %s', async (listen, targets, code) => {
    await using host = openHost()
    await host.reconciler.sync([desired('web', { listen, targets })])
    const report = host.reconciler.report('web')!
    expect(report).toMatchObject({ state: RelayState.REJECTED, generation: 1n, problem: { code } })
    expect(report.problem!.what).toBe('relay/web on edge-1 rejected')
    expect(report.problem!.why).not.toBe('')
  })
})

describe('revocation', () => {
  const order = (relayId: string) => ({
    revocationId: 'v-1',
    target: { $case: 'relayId', value: relayId } as const,
    reason: 'incident 7',
    revision: 9n,
  })

  test('cuts the relay and its connections, and says how many; no Sync brings it back', async () => {
    await using echo = await openEcho()
    await using host = openHost()
    await host.reconciler.sync([desired('r-1', { targets: [echo.target] })])
    const { local } = host.reconciler.report('r-1')!
    using client = await openClient(local[0])
    expect(await client.echo('one')).toBe('one')
    const receipt = await host.revocations.obey(order('r-1'))
    expect(receipt).toMatchObject({
      revocationId: 'v-1',
      listenersClosed: 1,
      connectionsCut: 1,
      problem: undefined,
    })
    await client.closed
    await expect(openClient(local[0])).rejects.toThrow(/ECONNREFUSED/)
    await host.reconciler.sync([desired('r-1', { targets: [echo.target], generation: 5n })])
    expect(host.reconciler.report('r-1')).toMatchObject({
      state: RelayState.REVOKED,
      problem: { code: 'revoked' },
    })
    await expect(openClient(local[0])).rejects.toThrow(/ECONNREFUSED/)
    expect(await host.revocations.obey(order('r-1'))).toEqual(receipt)
  })

  test('of what does not run here is a success that closes nothing', async () => {
    await using host = openHost()
    const receipt = await host.revocations.obey(order('r-unknown'))
    expect(receipt).toMatchObject({ listenersClosed: 0, connectionsCut: 0, problem: undefined })
  })

  test('of one connection leaves the others alone', async () => {
    await using echo = await openEcho()
    await using host = openHost()
    await host.reconciler.sync([desired('r-1', { targets: [echo.target] })])
    const { local } = host.reconciler.report('r-1')!
    using first = await openClient(local[0])
    expect(await first.echo('one')).toBe('one')
    const [id] = host.roster.live.keys()
    using second = await openClient(local[0])
    expect(await second.echo('two')).toBe('two')
    const receipt = await host.revocations.obey({
      ...order(''),
      target: { $case: 'connectionId', value: id! },
    })
    expect(receipt).toMatchObject({ listenersClosed: 0, connectionsCut: 1 })
    await first.closed
    expect(await second.echo('two')).toBe('two')
  })

  test('wins over an opening and a change that are under way', async () => {
    await using host = openHost()
    for (let i = 0; i < 50; i++) {
      const id = `r-${i}`
      const opening = host.reconciler.apply([desired(id)], [])
      if (i % 2) await opening
      const changing = host.reconciler.apply([desired(id, { generation: 2n, targets: ['MEMORY:b'] })], [])
      await host.revocations.obey({ ...order(id), revocationId: `v-${i}` })
      await Promise.all([opening, changing])
      expect(host.reconciler.report(id)?.state ?? RelayState.REVOKED).toBe(RelayState.REVOKED)
    }
    expect(host.reconciler.states().get('ready')).toBe(undefined)
  })

  test('of a kind that this agent does not know is answered with the reason', async () => {
    await using host = openHost()
    const receipt = await host.revocations.obey({ ...order(''), target: undefined })
    expect(receipt.problem).toMatchObject({ code: 'unsupported' })
  })
})

describe('a narrowed ceiling', () => {
  test('closes relays that it no longer permits, and opens them again when it does', async () => {
    await using echo = await openEcho()
    await using host = openHost()
    await host.reconciler.sync([desired('r-1', { targets: [echo.target] })])
    using client = await openClient(host.reconciler.report('r-1')!.local[0])
    expect(await client.echo('one')).toBe('one')
    host.ceiling.replace({ permit: permit(...memory), forbid: permit('TCP:127.0.0.0/8:*') })
    await host.reconciler.recheck()
    await client.closed
    expect(host.reconciler.report('r-1')).toMatchObject({
      state: RelayState.REJECTED,
      problem: { code: 'denied' },
    })
    host.ceiling.replace({ permit: permit(...memory), forbid: [] })
    await host.reconciler.recheck()
    expect(host.reconciler.report('r-1')).toMatchObject({ state: RelayState.READY })
  })

  test('cuts a live connection where a name has led to what is now forbidden', async () => {
    await using echo = await openEcho()
    await using host = openHost()
    await host.reconciler.sync([desired('r-1', { targets: [`TCP4:localhost:${echo.port}`] })])
    using client = await openClient(host.reconciler.report('r-1')!.local[0])
    expect(await client.echo('one')).toBe('one')
    host.ceiling.replace({ permit: permit(...memory), forbid: permit('TCP:127.0.0.0/8:*') })
    await host.reconciler.recheck()
    await client.closed
    expect(host.reconciler.report('r-1')).toMatchObject({ state: RelayState.READY })
  })
})

test('draining lets live connections finish, and opens nothing more', async () => {
  await using echo = await openEcho()
  await using host = openHost()
  await host.reconciler.sync([desired('r-1', { targets: [echo.target] })])
  const { local } = host.reconciler.report('r-1')!
  using client = await openClient(local[0])
  expect(await client.echo('one')).toBe('one')
  const drained = host.reconciler.drain(10_000)
  await host.reconciler.sync([desired('r-1'), desired('r-2')])
  expect([...host.reconciler.relays()]).toEqual(['r-1'])
  expect(await client.echo('two')).toBe('two')
  client.socket.end()
  await drained
  expect(host.roster.live.size).toBe(0)
})

test('an idle limit is in force', async () => {
  await using echo = await openEcho()
  await using host = openHost()
  const idle = { ...limits, maxConnections: 0, idleTimeout: toDuration(50) }
  await host.reconciler.sync([desired('r-1', { targets: [echo.target], limits: idle })])
  using client = await openClient(host.reconciler.report('r-1')!.local[0])
  await client.closed
})

import { once } from 'node:events'
import { expect, test } from 'vitest'
import { needing } from '#test/resources/needs.ts'
import { startProgram } from '#test/resources/program.ts'
import { openTestRelay } from '#test/resources/relays.ts'
import { openClient, openServer } from '#test/resources/servers.ts'
import { failureOf, receive } from '#test/resources/streams.ts'
import { until } from '#test/resources/until.ts'

test('forward only: the target hears all, its own words are dropped, and the client ending is the end', async () => {
  const heard: string[] = []
  await using server = await openServer(socket => {
    socket.write('nobody hears this')
    receive(socket).then(all => heard.push(String(all)))
  })
  const flow = { unidirectional: 'forward' } as const
  await using relay = await openTestRelay({ targets: [`TCP4:127.0.0.1:${server.port}`], flow })
  await using client = await openClient(relay.port)
  client.end('all that there is')
  expect(String(await receive(client))).toBe('')
  await until('the connection is over', () => relay.closed[0])
  expect(relay.closed[0]?.cause).toBe('eof')
  expect(relay.closed[0]?.connection).toMatchObject({ bytesIn: 17, bytesOut: 0 })
  expect(heard).toEqual(['all that there is'])
})

test('forward only: a target that has said all still hears', async () => {
  await using server = await openServer(socket => {
    socket.end()
    receive(socket).then(all => heard.resolve(String(all)))
  })
  const heard = Promise.withResolvers<string>()
  const flow = { unidirectional: 'forward' } as const
  await using relay = await openTestRelay({ targets: [`TCP4:127.0.0.1:${server.port}`], flow })
  await using client = await openClient(relay.port)
  await until('the target has ended its half', () => [...server.sockets][0]?.writableFinished)
  client.end('late words')
  expect(await heard.promise).toBe('late words')
})

test('forward only: a target that goes away is noticed though nobody says anything', async () => {
  await using server = await openServer(socket => void socket.resetAndDestroy())
  const flow = { unidirectional: 'forward' } as const
  await using relay = await openTestRelay({ targets: [`TCP4:127.0.0.1:${server.port}`], flow })
  await using client = await openClient(relay.port)
  expect(await failureOf(client)).toBe('ECONNRESET')
})

test('backward only: the client hears all, its own words are dropped, and the target ending is the end', async () => {
  const heard: Buffer[] = []
  await using server = await openServer(socket => {
    socket.on('data', chunk => heard.push(chunk))
    socket.end('words of the target')
  })
  const flow = { unidirectional: 'backward' } as const
  await using relay = await openTestRelay({ targets: [`TCP4:127.0.0.1:${server.port}`], flow })
  await using client = await openClient(relay.port)
  client.write('nobody hears this')
  expect(String(await receive(client))).toBe('words of the target')
  await until('the connection is over', () => relay.closed[0])
  expect(relay.closed[0]?.connection).toMatchObject({ bytesIn: 0, bytesOut: 19 })
  expect(heard).toEqual([])
})

test('what is dropped keeps no silent connection alive', async () => {
  const talking = new Set<NodeJS.Timeout>()
  await using server = await openServer(socket => {
    const timer = setInterval(() => socket.write('chatter'), 10)
    talking.add(timer)
    socket.once('close', () => clearInterval(timer))
  })
  const flow = { unidirectional: 'forward' } as const
  const targets = [`TCP4:127.0.0.1:${server.port}`]
  await using relay = await openTestRelay({ targets, flow, limits: { idleTimeoutMs: 60 } })
  await using client = await openClient(relay.port)
  client.resume()
  await until('it is idle', () => relay.closed[0]?.cause === 'idle')
})

needing('socat')('it ends as `socat -u` does: the target hears the end, and so does the client', async () => {
  await using server = await openServer(socket => {
    socket.write('nobody hears this')
    receive(socket).then(all => heard.push(String(all)))
  })
  const heard: string[] = []
  await using socat = startProgram([
    ...['socat', '-d', '-d', '-u', 'TCP4-LISTEN:0,bind=127.0.0.1', `TCP4:127.0.0.1:${server.port}`],
  ])
  const [, port] = await socat.says(/listening on .*:(\d+)/)
  const flow = { unidirectional: 'forward' } as const
  await using relay = await openTestRelay({ targets: [`TCP4:127.0.0.1:${server.port}`], flow })
  const answers: string[] = []
  for (const to of [Number(port), relay.port]) {
    await using client = await openClient(to)
    client.end('the same words')
    answers.push(String(await receive(client)))
    if (!client.destroyed) await once(client, 'close')
  }
  expect(answers).toEqual(['', ''])
  await until('both have been heard', () => heard.length === 2)
  expect(heard[0]).toBe(heard[1])
})

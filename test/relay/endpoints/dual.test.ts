import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openCeiling } from '#agent/ceiling.ts'
import { rule } from '#agent/rules.ts'
import { parseTarget } from '#relay/address.ts'
import type { Channel } from '#relay/endpoint.ts'
import { bindAddress, bindHalves, bindTarget } from '#relay/endpoints/index.ts'
import { memoryPair } from '#relay/endpoints/memory-pair.ts'
import { RelayError } from '#relay/errors.ts'
import { joinChannels } from '#relay/layers/joined-channels.ts'
import { openDatagramSocket } from '#test/resources/datagram-sockets.ts'
import { openFolder } from '#test/resources/folder.ts'
import { needing } from '#test/resources/needs.ts'
import { launcher, run } from '#test/resources/program.ts'
import { openTestRelay, startRelay } from '#test/resources/relays.ts'
import { openClient, openServer } from '#test/resources/servers.ts'
import { failureOf, receive } from '#test/resources/streams.ts'
import { until } from '#test/resources/until.ts'
import { conformance } from '../../conformance/endpoint.ts'

const bindAny = (text: string) => bindHalves(parseTarget(text), bindAddress)

/** The far ends of both halves, as one: what the joined channel is told, and what it says. */
function farEnd(ofRead: Channel, ofWrite: Channel): Channel {
  return joinChannels(ofWrite, ofRead)
}

conformance('two halves of a dual address', {
  resets: true,
  async open() {
    const [read, ofRead] = memoryPair({ text: 'memory:read' }, { text: 'memory:read#1' })
    const [write, ofWrite] = memoryPair({ text: 'memory:write' }, { text: 'memory:write#1' })
    const near = joinChannels(read, write)
    const far = farEnd(ofRead, ofWrite)
    // A reset is an error of a system, and the one that a stream fails with says so in its own words.
    far.stream.on('error', error => Object.assign(error, { code: 'ECONNRESET' }))
    return {
      near,
      far,
      async [Symbol.asyncDispose]() {
        await near[Symbol.asyncDispose]()
        await far[Symbol.asyncDispose]()
      },
    }
  },
})

test('a relay reads from one half and writes to the other', async () => {
  const heard = Promise.withResolvers<string>()
  await using source = await openServer(socket => void socket.end('from the source'))
  await using sink = await openServer(socket => {
    socket.write('nobody hears this')
    receive(socket).then(all => heard.resolve(String(all)), heard.reject)
  })
  const target = bindTarget(`TCP4:127.0.0.1:${source.port}!!TCP4:127.0.0.1:${sink.port}`)
  await using relay = await openTestRelay({ targets: [target] })
  await using client = await openClient(relay.port)
  client.write('for the sink')
  expect(String(await receive(client))).toBe('from the source')
  client.end()
  expect(await heard.promise).toBe('for the sink')
  await until('the connection is over', () => relay.closed[0]?.cause === 'eof')
  expect(relay.closed[0]?.connection.target).toBe(target.address.text)
})

test('the end for writing ends the write half, and the read half goes on', async () => {
  await using source = await openServer(socket => void socket.resume())
  const ended = Promise.withResolvers<void>()
  await using sink = await openServer(socket => void socket.resume().once('end', () => ended.resolve()))
  const target = bindTarget(`TCP4:127.0.0.1:${source.port}!!TCP4:127.0.0.1:${sink.port}`)
  await using relay = await openTestRelay({ targets: [target] })
  await using client = await openClient(relay.port)
  client.end('all')
  await ended.promise
  for (const socket of source.sockets) socket.end('still here')
  expect(String(await receive(client))).toBe('still here')
})

test('a half that goes away takes the conversation with it, and is named', async () => {
  await using source = await openServer(socket => void socket.resume())
  await using sink = await openServer(socket => {
    socket.once('data', () => socket.resetAndDestroy()).resume()
  })
  const target = bindTarget(`TCP4:127.0.0.1:${source.port}!!TCP4:127.0.0.1:${sink.port}`)
  await using relay = await openTestRelay({ targets: [target] })
  await using client = await openClient(relay.port)
  client.write('words')
  expect(await failureOf(client.resume())).toBe('ECONNRESET')
  await until('it is over', () => relay.closed[0])
  expect(relay.closed[0]?.error).toMatchObject({
    code: 'reset',
    what: `the connection with 127.0.0.1:${sink.port}`,
  })
})

test('a half that cannot be opened is named, and the other is closed', async () => {
  await using source = await openServer(socket => void socket.resume())
  const target = bindTarget(`TCP4:127.0.0.1:${source.port}!!MEMORY:nobody`)
  await using relay = await openTestRelay({ targets: [target] })
  await using client = await openClient(relay.port)
  expect(await failureOf(client.resume())).toBe('ECONNRESET')
  expect(relay.failed[0]).toMatchObject({ code: 'refused', what: 'MEMORY:nobody' })
  await until('the other is closed', () => source.sockets.size === 0)
})

test('one way only opens one half only', async () => {
  await using server = await openServer(socket => void socket.resume())
  const target = bindTarget(`MEMORY:nobody!!TCP4:127.0.0.1:${server.port}`)
  await using relay = await openTestRelay({ targets: [target], flow: { unidirectional: 'forward' } })
  await using client = await openClient(relay.port)
  client.end('words')
  await receive(client)
  await until('it is over', () => relay.closed[0]?.cause === 'eof')
})

test('datagrams of the read half stay what they are', async () => {
  await using source = await openDatagramSocket(text => text.split(' '))
  await using sink = await openDatagramSocket()
  const targets = [bindTarget(`UDP4:127.0.0.1:${source.port}!!UDP4:127.0.0.1:${sink.port}`)]
  await using relay = await openTestRelay({ listen: 'UDP4-LISTEN:0,bind=127.0.0.1,fork', targets })
  await using client = await openDatagramSocket()
  await client.send('to the sink', relay.port)
  expect(await sink.reply()).toBe('to the sink')
  expect(source.got).toEqual([])
})

test('as the first address, two listeners make one connection of two', async () => {
  await using relay = startRelay({
    listen: bindAny('TCP4-LISTEN:0,bind=127.0.0.1!!TCP4-LISTEN:0,bind=127.0.0.1'),
    targets: ['ECHO'],
  })
  const [local] = await until('it listens', () =>
    relay.relay.state.name === 'ready' ? relay.relay.state.local : undefined,
  )
  const [read, write] = local!.split('!!').map(local => Number(local.split(':').at(-1)))
  await using speaker = await openClient(read!)
  await using hearer = await openClient(write!)
  speaker.end('said here, heard there')
  expect(String(await receive(hearer))).toBe('said here, heard there')
  await until('it is done', () => relay.relay.state.name === 'done')
  expect(relay.opened).toHaveLength(1)
})

test('a listener that is a half waits for one connection, and closing it ends the wait', async () => {
  await using server = await openServer(socket => void socket.resume())
  const listen = bindAny(`TCP4-LISTEN:0,bind=127.0.0.1!!TCP4:127.0.0.1:${server.port}`)
  await using relay = startRelay({ listen, targets: ['ECHO'] })
  await until('it listens', () => relay.relay.state.name === 'ready')
  await relay.relay.close()
  expect(relay.relay.state.name).toBe('closed')
  expect(() => bindAny('TCP4-LISTEN:0,fork!!ECHO')).toThrow(/takes one connection.*Leave out `fork`/)
})

const ceiling = (permit: string[], forbid: string[] = []) =>
  openCeiling({
    permit: permit.map(text => rule(text, 'agent.yaml')),
    forbid: forbid.map(text => rule(text, 'agent.yaml')),
  })

test.each([
  ['TCP:db:1!!OPEN:/var/log/a,append', 'OPEN:/var/log/a'],
  ['OPEN:/etc/shadow,rdonly!!TCP:db:1', 'OPEN:/etc/shadow'],
  ['TCP:169.254.169.254:80!!TCP:db:1', 'TCP:169.254.169.254:80'],
  ['TCP:db:1!!TCP:169.254.169.254:80', 'TCP:169.254.169.254:80'],
])('the ceiling sees both halves of %s', (text, what) => {
  const refused = () => ceiling([]).checkTarget(bindTarget(text))
  expect(refused).toThrow(RelayError)
  expect(refused).toThrow(what)
  expect(() => ceiling([], ['TCP:a:1']).checkTarget(bindTarget('TCP:b:1!!TCP:a:1'))).toThrow('TCP:a:1')
  expect(() => ceiling([]).checkTarget(bindTarget('TCP:a:1!!TCP:b:2'))).not.toThrow()
})

needing('socat')('`fleetcat socat` does with it what socat does', async () => {
  await using folder = await openFolder()
  writeFileSync(join(folder.path, 'in'), 'what is in the file\n')
  const heard: string[] = []
  await using server = await openServer(socket => {
    receive(socket).then(all => heard.push(String(all)))
    socket.end('an answer\n')
  })
  const outputs: string[] = []
  for (const program of [['socat'], [launcher, 'socat']]) {
    const out = join(folder.path, program.at(0)!.length > 5 ? 'ours' : 'theirs')
    const dual = `OPEN:${folder.path}/in,rdonly!!OPEN:${out},creat,wronly`
    const { code, stderr } = await run([...program, dual, `TCP4:127.0.0.1:${server.port}`])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    outputs.push(readFileSync(out, 'utf8'))
  }
  await until('both have been heard', () => heard.length === 2)
  expect(heard).toEqual(['what is in the file\n', 'what is in the file\n'])
  expect(outputs).toEqual(['an answer\n', 'an answer\n'])
})

import { once } from 'node:events'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { timestamps } from '#relay/layers/timestamp.ts'
import { openDatagramSocket } from '#test/resources/datagram-sockets.ts'
import { openTestRelay } from '#test/resources/relays.ts'
import { openClient, openServer } from '#test/resources/servers.ts'
import { until } from '#test/resources/until.ts'

const flow = { timestamp: true }
const time = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z /g
const stamped = (text: string) => text.replace(time, '@')

/** Keeps what comes, and answers. */
async function openCollector() {
  let text = ''
  const server = await openServer(socket => {
    socket.on('data', words => {
      text += words
    })
    socket.resume()
    socket.write('an answer\nof two lines\n')
  })
  const { port } = server
  return {
    target: `TCP4:127.0.0.1:${port}`,
    heard: (length: number) =>
      until('all has come', () => (stamped(text).length >= length ? text : undefined)),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

test('each line that goes to the target follows its time, and what comes back is left alone', async () => {
  await using collector = await openCollector()
  await using relay = await openTestRelay({ targets: [collector.target], flow })
  await using client = await openClient(relay.port)
  const before = Date.now()
  client.write('one\n\nthree\nunfinished')
  const wanted = '@one\n@\n@three\n@unfinished'
  const text = await collector.heard(wanted.length)
  expect(stamped(text)).toBe(wanted)
  for (const [written] of text.matchAll(time)) {
    expect(Date.parse(written.trim())).toBeGreaterThanOrEqual(before)
    expect(Date.parse(written.trim())).toBeLessThanOrEqual(Date.now())
  }
  const [answer] = await once(client, 'data')
  expect(String(answer)).toBe('an answer\nof two lines\n')
  expect(relay.opened[0]).toMatchObject({ bytesIn: 'one\n\nthree\nunfinished'.length })
})

test('each datagram is a line of its own in a stream', async () => {
  await using collector = await openCollector()
  const listen = 'UDP4-RECV:0,bind=127.0.0.1'
  await using relay = await openTestRelay({ listen, targets: [collector.target], flow })
  await using client = await openDatagramSocket()
  for (const words of ['one', 'two\n', 'three\nand a half', '', 'last']) await client.send(words, relay.port)
  const wanted = '@one\n@two\n@three\nand a half\n@\n@last\n'
  expect(stamped(await collector.heard(wanted.length))).toBe(wanted)
})

test('a datagram that goes on as one has its time in front', async () => {
  await using server = await openDatagramSocket()
  const listen = 'UDP4-LISTEN:0,bind=127.0.0.1,fork'
  await using relay = await openTestRelay({ listen, targets: [`UDP4:127.0.0.1:${server.port}`], flow })
  await using client = await openDatagramSocket()
  for (const words of ['one', 'two\n']) await client.send(words, relay.port)
  await server.reply(2)
  expect(server.got.map(({ text }) => stamped(text))).toEqual(['@one', '@two\n'])
})

test('where a chunk ends makes no difference to where a line begins', () => {
  const text = fc.array(fc.constantFrom('\n', 'a', '\r\n', 'bc'), { maxLength: 30 })
  fc.assert(
    fc.property(text, fc.array(fc.nat(5), { maxLength: 10 }), (words, cuts) => {
      const whole = words.join('')
      const stamp = timestamps({ framing: 'stream' }, { framing: 'stream' })
      const pieces: string[] = []
      let from = 0
      for (const length of [...cuts, whole.length]) {
        pieces.push(String(stamp(Buffer.from(whole.slice(from, from + length)))))
        from += length
      }
      expect(stamped(pieces.join(''))).toBe(whole.replace(/[^\n]*\n|[^\n]+$/g, '@$&'))
    }),
  )
})

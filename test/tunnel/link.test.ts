import { randomBytes } from 'node:crypto'
import { setTimeout as after } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { RelayError } from '#relay/errors.ts'
import { kinds } from '#tunnel/frames.ts'
import { receive, writeUntilStalled } from '../resources/streams.ts'
import { until } from '../resources/until.ts'
import { never, opening, openLinked, openRogue } from './links.ts'

const reason = new RelayError('revoked', { what: 'the conversation', why: 'the test says so', fix: 'none' })
const mebibyte = 1_048_576
const failure = (work: Promise<unknown>) => work.then(() => undefined).catch((thrown: RelayError) => thrown)

describe('a link', () => {
  test('tells the opener why its conversation was refused, and lives on', async () => {
    await using linked = await openLinked()
    const opened = failure(linked.initiator.open(opening(), never))
    const { channel } = await until('it is asked for', () => linked.arrived[0])
    await channel.awaited?.refused(new RelayError('refused', { what: 'TCP4:x', why: 'nobody listens' }))
    expect(await opened).toMatchObject({ code: 'refused', what: 'TCP4:x', why: 'nobody listens' })
    linked.arrived.shift()
    await using conversation = await linked.converse()
    expect(conversation.near.peer.identity).toBe('agent/b')
    expect(conversation.far.peer.identity).toBe('agent/a')
  })

  test('carries a refusal in any letters, however long, and lives on', async () => {
    await using linked = await openLinked()
    for (const letter of ['\u0001', '語', '"', '😀']) {
      const opened = failure(linked.initiator.open({ ...opening(), source: letter.repeat(30_000) }, never))
      const { channel } = await until('it is asked for', () => linked.arrived.shift())
      const text = letter.repeat(30_000)
      await channel.awaited?.refused(new RelayError('refused', { what: text, why: text, fix: text }))
      expect(await opened).toMatchObject({ code: 'refused' })
    }
    const granted = linked.initiator.open(opening(), never)
    const { channel } = await until('it is asked for', () => linked.arrived.shift())
    channel.awaited?.granted({ ...channel, framing: 'stream', peer: { text: '語'.repeat(30_000) } })
    await using near = await granted
    await using _far = channel
    expect(near.peer.text).toMatch(/語… on agent\/b$/)
    expect(linked.initiator.isOver).toBe(false)
  })

  test('cuts one conversation with its reason, both ways, and no other', async () => {
    await using linked = await openLinked()
    for (const side of ['near', 'far'] as const) {
      await using cut = await linked.converse()
      await using stays = await linked.converse()
      const other = cut[side === 'near' ? 'far' : 'near']
      cut[side].abort(reason)
      await until('the far side knows', () => other.stream.errored)
      expect(other.stream.errored).toMatchObject({ code: 'revoked', why: 'the test says so', fix: 'none' })
      stays.near.stream.end('still here')
      expect(String(await receive(stays.far.stream))).toBe('still here')
    }
  })

  test('ends with all its conversations and tells the far side why', async () => {
    await using linked = await openLinked()
    const conversations = [await linked.converse(), await linked.converse('datagram')]
    const asked = failure(linked.initiator.open(opening(), never))
    await until('it is asked for', () => linked.arrived.length === 1)
    linked.answering.abort(reason)
    expect(await linked.answering.over).toBe(reason)
    expect(await linked.initiator.over).toMatchObject({ code: 'revoked', why: 'the test says so' })
    expect(await asked).toMatchObject({ code: 'revoked' })
    for (const { near, far } of conversations) {
      expect(near.stream.destroyed).toBe(true)
      expect(far.stream.destroyed).toBe(true)
      expect(near.stream.errored).toMatchObject({ code: 'revoked' })
    }
    expect([linked.initiator.streams, linked.answering.streams]).toEqual([0, 0])
    expect(await failure(linked.initiator.open(opening(), never))).toMatchObject({ code: 'revoked' })
  })

  test('that is lost while a conversation is being opened rejects that, and ends nothing else', async () => {
    for (const how of ['destroy', 'resetAndDestroy', 'end'] as const) {
      await using rogue = await openRogue('initiator')
      const opened = failure(rogue.link.open(opening(), never))
      await until('it is asked for', () => rogue.heard.some(({ kind }) => kind === kinds.open))
      rogue.socket[how]()
      expect(await opened).toMatchObject({ code: 'reset' })
      expect(await rogue.link.over).toMatchObject({ code: 'reset' })
    }
  })

  test('lets go of an opening that is called off, there too', async () => {
    await using linked = await openLinked()
    const calledOff = new AbortController()
    const opened = failure(linked.initiator.open(opening(), calledOff.signal))
    const { channel } = await until('it is asked for', () => linked.arrived[0])
    calledOff.abort(reason)
    expect(await opened).toMatchObject({ code: 'revoked' })
    await until('it is closed there', () => channel.stream.destroyed)
    channel.awaited?.granted({ ...channel, framing: 'stream', peer: { text: 'late' } })
    await using _ = await linked.converse()
    expect(linked.initiator.streams).toBe(1)
  })

  test('asks a silent far side whether it is there, and gives up', async () => {
    await using rogue = await openRogue('initiator', { quietMs: 50 })
    rogue.socket.pause()
    expect(await rogue.link.over).toMatchObject({ code: 'unreachable' })
    await using alive = await openLinked({ quietMs: 50 })
    await after(250)
    expect(alive.initiator.isOver || alive.answering.isOver).toBe(false)
  })
})

describe('a slow reader', () => {
  test('holds up its own writer, and no other, at a bounded memory', async () => {
    await using linked = await openLinked()
    await using slow = await linked.converse()
    await using quick = await linked.converse()
    const taken = await writeUntilStalled(slow.near.stream, 64 * mebibyte)
    expect(taken).toBeLessThan(2 * mebibyte)
    const bytes = randomBytes(8 * mebibyte)
    quick.near.stream.end(bytes)
    expect((await receive(quick.far.stream)).equals(bytes)).toBe(true)
    expect(slow.near.stream.writableNeedDrain).toBe(true)
    slow.near.stream.end()
    expect((await receive(slow.far.stream)).length).toBe(taken)
  })
})

describe('a far side that keeps to no rules ends its link, and nothing else', () => {
  const junk: Record<string, (say: (kind: number, stream: number, payload?: string) => void) => void> = {
    'a kind that there is not': say => say(99, 0),
    'an opening that is no JSON': say => say(kinds.open, 1, 'no'),
    'an opening without a source': say => say(kinds.open, 1, '{"id":"a"}'),
    'an opening whose id would break a line': say => say(kinds.open, 1, '{"id":"a\\nb","source":"s"}'),
    'the same id twice': say => {
      say(kinds.open, 1, '{"id":"a","source":"s"}')
      say(kinds.open, 1, '{"id":"b","source":"s"}')
    },
    'data of no conversation': say => say(kinds.data, 7, 'x'),
    'a credit of no number': say => {
      say(kinds.open, 1, '{"id":"a","source":"s"}')
      say(kinds.credit, 1, 'xxxxx')
    },
    'more than its credit': say => {
      say(kinds.open, 1, '{"id":"a","source":"s"}')
      for (let i = 0; i < 80; i++) say(kinds.data, 1, 'x'.repeat(65_536))
    },
    'a goodbye without a reason': say => say(kinds.goodbye, 0, '{}'),
  }
  for (const [what, does] of Object.entries(junk)) {
    test(what, async () => {
      await using rogue = await openRogue('answering')
      does(rogue.say)
      expect(await rogue.link.over).toMatchObject({ code: 'reset' })
      expect(rogue.link.streams).toBe(0)
    })
  }

  test('to an initiator: it opens conversations', async () => {
    await using rogue = await openRogue('initiator')
    rogue.say(kinds.open, 1, '{"id":"a","source":"s"}')
    expect(await rogue.link.over).toMatchObject({ code: 'reset', why: 'it opens what is not its to open' })
  })

  test('to an initiator: it cuts, ends or fills what it has not opened yet', async () => {
    await using rogue = await openRogue('initiator')
    const cut = failure(rogue.link.open(opening(), never))
    rogue.say(kinds.reset, 1, '{"code":"denied","what":"TCP4:x","why":"not you"}')
    expect(await cut).toMatchObject({ code: 'denied', why: 'not you' })
    const opened = failure(rogue.link.open(opening(), never))
    rogue.say(kinds.end, 2)
    rogue.say(kinds.data, 2, 'after its end')
    rogue.say(kinds.end, 2)
    rogue.say(kinds.refused, 2, '{"code":"refused","what":"TCP4:x"}')
    expect(await opened).toMatchObject({ code: 'refused' })
    expect(rogue.link.isOver).toBe(false)
  })

  test('what comes in one piece with its goodbye is heard no more', async () => {
    await using rogue = await openRogue('answering')
    rogue.socket.cork()
    rogue.say(kinds.goodbye, 0, '{"code":"closed","what":"the tunnel"}')
    rogue.say(kinds.open, 1, '{"id":"a","source":"s"}')
    rogue.socket.uncork()
    expect(await rogue.link.over).toMatchObject({ code: 'closed' })
    expect(rogue.arrived).toEqual([])
    expect(rogue.link.streams).toBe(0)
  })

  test('a flood of openings is refused beyond what it may have', async () => {
    await using rogue = await openRogue('answering', { mostStreams: 10 })
    for (let id = 1; id <= 5_000; id++) rogue.say(kinds.open, id, `{"id":"c-${id}","source":"s"}`)
    const refused = () => rogue.heard.filter(({ kind }) => kind === kinds.refused).length
    await until('all are answered', () => refused() === 4_990)
    expect(rogue.arrived).toHaveLength(10)
    expect(rogue.link.counts).toMatchObject({ opened: 10, refused: 4_990 })
  })

  test('a flood of questions whose answers it does not read', async () => {
    await using rogue = await openRogue('answering')
    rogue.socket.pause()
    const ping = Buffer.alloc(8 * 8_192)
    for (let at = 0; at < ping.length; at += 8) ping[at] = kinds.ping
    const flood = setInterval(() => {
      if (!rogue.socket.writableNeedDrain) for (let i = 0; i < 32; i++) rogue.socket.write(ping)
    }, 1)
    try {
      expect(await rogue.link.over).toMatchObject({ why: 'it asks, and does not listen to the answers' })
    } finally {
      clearInterval(flood)
    }
  })

  test('a flood of empty datagrams that nobody reads costs a bounded memory', async () => {
    await using rogue = await openRogue('answering')
    rogue.say(kinds.open, 1, '{"id":"a","source":"s"}')
    const channel = await until('it is asked for', () => rogue.arrived[0])
    channel.awaited?.granted({ ...channel, framing: 'datagram', peer: { text: 'far' } })
    const empty = Buffer.alloc(8 * 8_192)
    for (let at = 0; at < empty.length; at += 8) empty.set([kinds.data, 0, 0, 0, 0, 0, 0, 1], at)
    for (let i = 0; i < 10; i++) rogue.socket.write(empty)
    rogue.say(kinds.end, 1)
    await until('most are dropped', () => rogue.link.counts.datagramsDropped > 80_000)
    let got = 0
    channel.stream.on('data', () => got++)
    await until('it has ended', () => channel.stream.readableEnded)
    expect(got + rogue.link.counts.datagramsDropped).toBe(81_920)
    expect(got).toBeLessThan(2_000)
  })

  test('a stream in tiny pieces that nobody reads is kept as a few, and loses nothing', async () => {
    await using rogue = await openRogue('answering')
    rogue.say(kinds.open, 1, '{"id":"a","source":"s"}')
    const channel = await until('it is asked for', () => rogue.arrived[0])
    channel.awaited?.granted({ ...channel, framing: 'stream', peer: { text: 'far' } })
    const tiny = Buffer.alloc(9 * 100_000)
    for (let at = 0; at < tiny.length; at += 9) tiny.set([kinds.data, 0, 0, 1, 0, 0, 0, 1, at % 251], at)
    rogue.socket.write(tiny)
    rogue.say(kinds.end, 1)
    rogue.say(kinds.ping, 0)
    await until('all has come', () => rogue.heard.some(({ kind }) => kind === kinds.pong))
    let chunks = 0
    channel.stream.on('data', () => chunks++)
    const bytes = await receive(channel.stream)
    expect(bytes.length).toBe(100_000)
    expect(bytes.every((byte, i) => byte === (9 * i) % 251)).toBe(true)
    expect(chunks).toBeLessThan(2_000)
  })
})

test('10,000 conversations opened and closed leave nothing', async () => {
  await using linked = await openLinked()
  const one = async () => {
    const wish = opening()
    const opened = linked.initiator.open(wish, never)
    const { channel: far } = await until('it is asked for', () => {
      const at = linked.arrived.findIndex(each => each.opening.id === wish.id)
      return at < 0 ? undefined : linked.arrived.splice(at, 1)[0]
    })
    far.awaited?.granted({ ...far, framing: 'stream', peer: { text: 'far' } })
    far.stream.pipe(far.stream)
    const near = await opened
    near.stream.end('ping')
    expect(String(await receive(near.stream))).toBe('ping')
    await near[Symbol.asyncDispose]()
    await far[Symbol.asyncDispose]()
  }
  for (let round = 0; round < 50; round++) await Promise.all(Array.from({ length: 200 }, one))
  expect([linked.initiator.streams, linked.answering.streams]).toEqual([0, 0])
  expect(linked.initiator.counts).toEqual({ opened: 10_000, refused: 0, datagramsDropped: 0 })
  expect(linked.arrived).toEqual([])
}, 20_000)

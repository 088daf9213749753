import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Channel } from '#relay/endpoint.ts'
import { bindAddress } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'
import { readAnswer, standingBytes, wishBytes } from '#relay/serial/companion.ts'
import type { LineCounters, ModemLines, SerialPort } from '#relay/serial/port.ts'
import { comPortBytes } from '#relay/serial/rfc2217/codec.ts'
import type { SharedView } from '#relay/serial/shared-port.ts'
import type { Standing } from '#relay/serial/standing.ts'
import { subnegotiationBytes, telnetOptions, telnetParser } from '#relay/serial/telnet.ts'
import { viewControl } from '#relay/serial/view-control.ts'
import { openContext } from '#test/resources/contexts.ts'
import { openTestRelay } from '#test/resources/relays.ts'
import { openScratch } from '#test/resources/scratch.ts'
import { baudOf, openFakePort } from '#test/resources/serial/cables.ts'
import { openClient } from '#test/resources/servers.ts'
import { until } from '#test/resources/until.ts'

interface Client extends AsyncDisposable {
  readonly channel: Channel
  readonly data: () => string
  /** The last word about it. */
  readonly standing: () => Standing | undefined
  readonly told: string[]
  readonly refused: RelayError[]
  readonly errors: (LineCounters | undefined)[]
  readonly codes: number[]
  say(bytes: Buffer): void
}

async function open(address: string, who = 'ann', cx = openContext()): Promise<Client> {
  const channel = await bindAddress(address).dialer!.dial({ ...cx, client: { text: who } })
  let data = ''
  let standing: Standing | undefined
  const told: string[] = []
  const refused: RelayError[] = []
  const errors: (LineCounters | undefined)[] = []
  const codes: number[] = []
  const parser = telnetParser({
    data(bytes) {
      data += bytes.toString('latin1')
    },
    command() {},
    option() {},
    subnegotiation(_option, payload) {
      codes.push(payload[0]!)
      const answer = readAnswer(payload)
      if (!answer) return
      if (answer.topic === 'told') told.push(answer.text)
      else if (answer.topic === 'errors') errors.push(answer.counts)
      else if ('standing' in answer) standing = answer.standing
      else refused.push(answer.refused)
    },
  })
  parser.binary = true
  channel.stream.on('data', parser.take)
  return {
    channel,
    ...{ told, refused, errors, codes },
    data: () => data,
    standing: () => standing,
    say: bytes => void channel.stream.write(bytes),
    [Symbol.asyncDispose]: () => Promise.resolve(channel[Symbol.asyncDispose]()),
  }
}

const baud = (value: number) => comPortBytes({ name: 'baud', value }, 'client')

test('who asks is told where he stands, whenever that changes; who does not never hears of it', async () => {
  await using port = await openFakePort()
  const address = `SERIAL:${port.path},share,rfc2217`
  await using ann = await open(address, 'ann')
  await using plain = await open(address, 'plain')
  ann.say(wishBytes('hello'))
  await until('she knows', () => ann.standing())
  expect(ann.standing()).toMatchObject({
    writes: true,
    there: true,
    line: { baud: 9_600 },
    present: [
      { who: 'ann', writes: true, you: true },
      { who: 'plain', writes: false, you: false },
    ],
  })
  {
    await using bob = await open(address, 'bob')
    bob.say(wishBytes('takeOver'))
    await until('ann only watches', () => ann.standing()?.writes === false)
    expect(ann.told).toEqual(['bob has taken over; what you write goes nowhere'])
    bob.say(baud(19_200))
    await until('ann knows the line', () => ann.standing()?.line?.baud === 19_200)
  }
  await until('ann writes again', () => ann.standing()?.writes)
  expect(ann.standing()?.present.map(({ who }) => who)).toEqual(['ann', 'plain'])
  port.far.write('bytes')
  await until('all have the bytes', () => ann.data() === 'bytes' && plain.data() === 'bytes')
  expect(plain.codes.filter(code => code >= 164)).toEqual([])
})

test('a watcher cannot set the line, and whoever stays gets it back from a writer who was cut', async () => {
  await using port = await openFakePort()
  await using watcher = await open(`SERIAL:${port.path},watch,rfc2217`, 'watcher')
  watcher.say(Buffer.concat([baud(57_600), wishBytes('hello')]))
  await until('it is answered', () => watcher.standing())
  expect(await baudOf(port.path)).toBe(9_600)
  await using writer = await open(`SERIAL:${port.path},share,rfc2217`, 'writer')
  writer.say(baud(57_600))
  await until('it is set', async () => (await baudOf(port.path)) === 57_600)
  writer.channel.abort(new RelayError('revoked', { what: 'the test' }))
  await until('it is as it was', async () => (await baudOf(port.path)) === 9_600)
})

test('wires of a device that comes later are told of', async () => {
  const wires = { cts: true, dsr: false, dcd: false, ri: false }
  let seen: SharedView['seen']
  const view = {
    get seen() {
      return seen
    },
  } as SharedView
  const heard: ModemLines[] = []
  const stop = viewControl(view, '/dev/ttyUSB0').onModem(now => void heard.push(now))
  // It has been looked for in vain.
  await new Promise(setImmediate)
  seen = { modem: async () => wires } as unknown as SerialPort
  await until('they are', () => heard.length > 0)
  expect(heard).toEqual([wires])
  stop()
})

test('who takes nothing in, or never asks, makes nothing pile up however often others take over', async () => {
  await using port = await openFakePort()
  const address = `SERIAL:${port.path},share,rfc2217`
  await using ann = await open(address, 'ann')
  await using bob = await open(address, 'bob')
  await using slow = await open(address, 'slow')
  await using late = await open(address, 'late')
  for (const client of [ann, bob, slow]) client.say(wishBytes('hello'))
  await until('they know', () => [ann, bob, slow].every(client => client.standing()))
  slow.channel.stream.pause()
  const heard = slow.codes.length
  for (let n = 0; n < 1_000; n++) {
    const [next] = [ann, bob].filter(client => !client.standing()?.writes)
    next!.say(wishBytes('takeOver'))
    await until('it writes', () => next!.standing()?.writes)
    late.say(wishBytes('takeOver'))
    await until('the writing is lost', () => !next!.standing()?.writes)
  }
  slow.channel.stream.resume()
  await until('it knows the end of it', () => slow.standing()?.present[3]?.writes)
  expect(slow.codes.length - heard).toBeLessThan(600)
  late.say(wishBytes('hello'))
  await until('it is told', () => late.told.length > 0)
  expect(late.told.length).toBeLessThanOrEqual(20)
})

test('where the ceiling lets only watch, nobody takes over', async () => {
  await using port = await openFakePort()
  const egress = {
    check({ keyword, options }: { keyword: string; options: readonly { name: string }[] }) {
      if (keyword === 'SERIAL' && !options.some(({ name }) => name === 'watch'))
        throw new RelayError('denied', { what: port.path, why: 'only watching is permitted' })
    },
  }
  await using client = await open(`SERIAL:${port.path},watch,rfc2217`, 'eve', { ...openContext(), egress })
  client.say(wishBytes('takeOver'))
  await until('she is refused', () => client.refused.length > 0)
  expect(client.refused[0]).toMatchObject({ code: 'denied', why: 'only watching is permitted' })
})

test('what is said of many is cut short, and never leaves out who writes and who is told', () => {
  const present = Array.from({ length: 500 }, (_, n) => ({
    who: `somebody-${n} ${'\u{1F600}'.repeat(50)}`,
    writes: n === 300,
    you: n === 499,
  }))
  const bytes = standingBytes({ writes: false, there: true, present })
  expect(bytes.length).toBeLessThan(1_030)
  let standing: Standing | undefined
  telnetParser({
    data() {},
    command() {},
    option() {},
    subnegotiation(_option, payload) {
      const answer = readAnswer(payload)
      if (answer && 'standing' in answer) standing = answer.standing
    },
  }).take(bytes)
  expect(standing?.present.filter(({ writes, you }) => writes || you)).toHaveLength(2)
})

test.each([
  '',
  '\xa4',
  '\xa4{',
  '\xa4null',
  '\xa4{"writes":1}',
  '\xa5{"refused":7}',
  '\xa6[]',
  '\xa6{"text":4}',
])('an answer that makes no sense is none: %j', text => {
  expect(readAnswer(Buffer.from(text, 'latin1'))).toBeUndefined()
})

test('codes that nobody has thought of get no answer, and nothing breaks', async () => {
  await using port = await openFakePort()
  await using client = await open(`SERIAL:${port.path},rfc2217`)
  for (const code of [63, 66, 67, 99, 127, 200, 255])
    client.say(subnegotiationBytes(telnetOptions.comPort, Buffer.of(code, 1, 2, 3)))
  client.say(wishBytes('hello'))
  await until('it is answered', () => client.standing())
  expect(client.codes.filter(code => code > 112 && code !== 164)).toEqual([])
})

test('who asks is told that a device counts no errors, and what looks as if the line were set wrong, once', async () => {
  await using port = await openFakePort()
  await using scratch = await openScratch()
  const log = join(scratch.path, 'log')
  const address = `SERIAL:${port.path},share,rfc2217`
  await using relay = await openTestRelay({ targets: [`SERIAL:${port.path},share,log=${log}`] })
  await using plain = await openClient(relay.port)
  const heard: Buffer[] = []
  plain.on('data', bytes => heard.push(bytes))
  await until('it writes', () => readFileSync(log, 'utf8').includes('writes'))
  await using ann = await open(address, 'ann')
  ann.say(Buffer.concat([wishBytes('hello'), wishBytes('errors')]))
  await until('it is answered', () => ann.errors.length === 1)
  expect(ann.errors).toEqual([undefined])
  port.far.write('All is well.\r\n'.repeat(100))
  const garbage = Buffer.alloc(2_000, '\x00\xe6\x1c\x7fa', 'latin1')
  for (let n = 0; n < 3; n++) port.far.write(garbage)
  await until('all has come', () => Buffer.concat(heard).length === 1_400 + 6_000)
  const hint = 'most of what comes is no text: is the line set as its device is?'
  await until('she is told', () => ann.told.includes(hint))
  expect(ann.told.filter(text => text === hint)).toHaveLength(1)
  // Bytes may be meant as they are: nothing is said among them.
  expect(Buffer.concat(heard).includes('set as')).toBe(false)
  await until('the log has it', () => readFileSync(log, 'latin1').includes(`[fleetcat: ${hint}]`))
})

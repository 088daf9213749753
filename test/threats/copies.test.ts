import { fork } from 'node:child_process'
import { once } from 'node:events'
import { link, mkdir, readdir, readFile, readlink, realpath, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openCeiling } from '#agent/ceiling.ts'
import { rule } from '#agent/rules.ts'
import { dataHead, frameSplitter, messageFrame, type Piece } from '#relay/copy/frames.ts'
import type { Message } from '#relay/copy/messages.ts'
import type { Channel } from '#relay/endpoint.ts'
import { copy, dialSide, sha256 } from '#test/resources/copies.ts'
import { openScratch } from '#test/resources/scratch.ts'
import { until } from '#test/resources/until.ts'

let scratch: Awaited<ReturnType<typeof openScratch>>
let root: string
const at = (name: string) => join(root, name)

beforeEach(async () => {
  scratch = await openScratch()
  root = await realpath(scratch.path)
  for (const directory of ['permitted/sub', 'secret', 'in']) await mkdir(at(directory), { recursive: true })
  await writeFile(at('permitted/file'), 'harmless')
  await writeFile(at('secret/file'), 'secret')
})
afterEach(async () => {
  expect(await readdir(at('secret'))).toEqual(['file'])
  expect(await readFile(at('secret/file'), 'utf8')).toBe('secret')
  await scratch[Symbol.asyncDispose]()
})

const ceiling = (lines: readonly string[], forbidden: readonly string[] = []) =>
  openCeiling({
    permit: lines.map(line => rule(line, 'the test')),
    forbid: forbidden.map(line => rule(line, 'the test', 'forbid')),
  })

/** A header of a tar stream by hand, with whatever is wrong with it. */
function header(name: string, { type = '0', size = 0, link = '', mode = '0000644' } = {}): Buffer {
  const block = Buffer.alloc(512)
  block.write(name, 0, 100)
  block.write(`${mode}\0`, 100)
  block.write('0000000\0', 108)
  block.write('0000000\0', 116)
  block.write(`${size.toString(8).padStart(11, '0')}\0`, 124)
  block.write('14000000000\0', 136)
  block.write('        ', 148)
  block.write(type, 156)
  block.write(link, 157, 100)
  block.write('ustar\0' + '00', 257)
  const sum = block.reduce((total, byte) => total + byte, 0)
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  return block
}

const padded = (bytes: Buffer) => Buffer.concat([bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)])

const file = (name: string, content: string, more: { mode?: string } = {}) =>
  Buffer.concat([header(name, { size: Buffer.byteLength(content), ...more }), padded(Buffer.from(content))])

function pax(records: Record<string, string>): Buffer {
  const lines = Object.entries(records).map(([key, value]) => {
    const rest = ` ${key}=${value}\n`
    let length = Buffer.byteLength(rest) + 1
    while (String(length).length + Buffer.byteLength(rest) !== length) length++
    return `${length}${rest}`
  })
  const body = Buffer.from(lines.join(''))
  return Buffer.concat([header('pax', { type: 'x', size: body.length }), padded(body)])
}

const end = Buffer.alloc(1_024)

/** The far side, spoken to by hand. */
function byHand({ stream }: Channel) {
  const heard: Message[] = []
  const split = frameSplitter()
  stream.on('error', () => {})
  stream.on('data', (bytes: Buffer) => {
    for (const piece of split(bytes) as Piece[]) if ('message' in piece) heard.push(piece.message)
  })
  const ended = once(stream, 'end')
  return {
    heard,
    say: (message: Message) => stream.write(messageFrame(message)),
    send(bytes: Buffer) {
      stream.write(dataHead(bytes.length))
      stream.write(bytes)
    },
    raw: (bytes: Buffer) => stream.write(bytes),
    hears: (is: Message['is']) => until(`it says ${is}`, () => heard.some(message => message.is === is)),
    async finish(): Promise<Message> {
      await ended
      stream.end()
      return heard.at(-1)!
    },
  }
}

const offer = { is: 'offer', version: 1, kind: 'directory', name: 'tree', mode: 0o755, mtimeMs: 0 } as const

const sums = (...paths: readonly (readonly [string, string])[]): Message => ({
  is: 'sums',
  files: paths.map(([path, content]) => ({
    path,
    is: 'sent',
    size: Buffer.byteLength(content),
    from: 0,
    sha256: sha256(content),
  })),
})

const whole = (...paths: readonly (readonly [string, string])[]): Message => ({
  is: 'end',
  files: paths.length,
  bytes: 0,
  sha256: sha256(paths.map(([path, content]) => `${sha256(content)}  ${path}\n`).join('')),
})

async function receiving<T>(
  use: (sender: ReturnType<typeof byHand>) => Promise<T>,
  options = '',
): Promise<T> {
  await using channel = await dialSide(`RECEIVE:${at('in/tree')}${options}`)
  return await use(byHand(channel))
}

/** What becomes of a copy whose tar stream is this. */
function taken(
  entries: readonly Buffer[],
  vouched: readonly (readonly [string, string])[] = [],
  options = '',
) {
  return receiving(async sender => {
    sender.say(offer)
    await sender.hears('accept')
    sender.send(Buffer.concat([...entries, end]))
    sender.say(sums(...vouched))
    sender.say(whole(...vouched))
    const last = await sender.finish()
    const refused = sender.heard.flatMap(each => (each.is === 'refused' ? each.entries : []))
    return { last, refused, why: refused.map(({ why }) => why) }
  }, options)
}

describe('a sender that means harm', () => {
  const good = ['good', 'fine'] as const

  test.each([
    ['../secret/file', 'its name leads out of the directory that is copied'],
    ['sub/../../../secret/file', 'its name leads out of the directory that is copied'],
    ['/etc/passwd', 'its name is an absolute path'],
    ['sub//file', 'there is an empty name in its path'],
    ['./file', 'there is an empty name in its path'],
    [`${'n'.repeat(200)}/x`.repeat(30), 'its path is longer than 4000 bytes'],
    ['d/'.repeat(300), 'it is more than 200 directories deep'],
    ['n'.repeat(256), 'its name is longer than 255 bytes'],
    ['.fleetcat-partial-0', 'names that begin with .fleetcat- are those of unfinished copies'],
    ['nul\0byte', 'there is a NUL in its name'],
  ])('gets nowhere with the name %j', async (name, why) => {
    const entries = [pax({ path: name }), file('x', 'evil'), file('good', 'fine')]
    const { last, why: said } = await taken(entries, [good])
    expect(said).toEqual([why])
    expect(last).toMatchObject({ is: 'done', files: 1 })
    expect(await readdir(at('in/tree'))).toEqual(['good'])
  })

  test('writes through no link that it has laid', async () => {
    const entries = [
      header('out', { type: '2', link: '../../secret' }),
      file('out/file', 'evil'),
      header('out/new', { type: '5' }),
      header('abs', { type: '2', link: at('secret/file') }),
      file('abs', 'evil'),
      file('good', 'fine'),
    ]
    const { last, refused } = await taken(entries, [good, ['abs', 'evil']])
    expect(last).toMatchObject({ is: 'done', files: 2 })
    expect(refused.map(({ path }) => path)).toEqual(['out/file', 'out/new', 'abs'])
    expect((await readdir(at('in/tree'))).sort()).toEqual(['abs', 'good', 'out'])
    expect(await readFile(at('in/tree/abs'), 'utf8')).toBe('evil')
  })

  test('writes through no link that was there before', async () => {
    await mkdir(at('in/tree'))
    await symlink('../../secret', at('in/tree/out'))
    await symlink('../../secret/file', at('in/tree/one'))
    const { last, refused } = await taken(
      [file('out/file', 'evil'), header('out', { type: '5' }), file('one', 'evil'), file('good', 'fine')],
      [good, ['one', 'evil']],
      ',exact',
    )
    expect(last).toMatchObject({ is: 'done', files: 2 })
    expect(refused.map(({ path }) => path)).toEqual(['out/file', 'out'])
    expect(await readlink(at('in/tree/out'))).toBe('../../secret')
    expect(await readFile(at('in/tree/one'), 'utf8')).toBe('evil')
  })

  test('makes hard links to what it has sent, and to nothing else', async () => {
    await mkdir(at('in/tree'))
    await writeFile(at('in/tree/theirs'), 'not of the copy')
    const links = ['good', 'theirs', '../../secret/file', at('secret/file'), 'missing', ''].map((link, i) =>
      header(`link${i}`, { type: '1', link }),
    )
    const { last, refused } = await taken([file('good', 'fine'), ...links], [good], ',exact')
    expect(last).toMatchObject({ is: 'done', links: 1 })
    expect(refused.map(({ path }) => path)).toEqual(['link1', 'link2', 'link3', 'link4', 'link5'])
    expect((await readdir(at('in/tree'))).sort()).toEqual(['good', 'link0', 'theirs'])
  })

  test('makes no devices and no pipes, and sets no bits that let a program act as its owner', async () => {
    const entries = [
      header('null', { type: '3' }),
      header('disk', { type: '4' }),
      header('pipe', { type: '6' }),
      header('odd', { type: '7' }),
      file('good', 'fine', { mode: '0006755' }),
    ]
    const { refused, last } = await taken(entries, [good])
    expect(last).toMatchObject({ is: 'done', files: 1 })
    expect(refused.map(({ path }) => path)).toEqual(['null', 'disk', 'pipe', 'odd'])
  })

  test.each([
    ['bytes that are no frames', (s: Sender) => s.raw(Buffer.from('GET / HTTP/1.1\r\n\r\n'))],
    ['a message that is too long', (s: Sender) => s.raw(Buffer.from([1, 0xff, 0xff, 0xff, 0xff]))],
    ['data that is too long', (s: Sender) => s.raw(Buffer.from([2, 0x7f, 0xff, 0xff, 0xff]))],
    ['an empty frame', (s: Sender) => s.raw(Buffer.from([2, 0, 0, 0, 0]))],
    ['a message that is none', (s: Sender) => s.raw(framed('{"is":"toString"}'))],
    ['a message with a wrong field', (s: Sender) => s.raw(framed('{"is":"sums","files":[{"path":1}]}'))],
    ['JSON that is none', (s: Sender) => s.raw(framed('{'))],
    ['what only a receiver says', (s: Sender) => s.say({ ...done })],
    ['a list that nobody asked for', (s: Sender) => s.say({ is: 'list', entries: [] })],
    ['a tar stream that is none', (s: Sender) => s.send(Buffer.alloc(2_048, 'x'))],
    ['a header of extreme length', (s: Sender) => s.send(header('x', { type: 'x', size: 0o77777777777 }))],
    ['a file that it does not vouch for', (s: Sender) => finish(s, [file('x', 'x')], [])],
    ['a sum for a file that does not come', (s: Sender) => finish(s, [], [['x', 'x']])],
    ['another sum than that of its file', (s: Sender) => finish(s, [file('x', 'y')], [['x', 'x']])],
    ['two files of one name', (s: Sender) => finish(s, [file('x', 'x'), file('x', 'x')], [['x', 'x']])],
    ['the rest of a file that is not there', (s: Sender) => s.send(Buffer.concat([rest, file('x', 'x')]))],
    ['a file that is kept and not there', (s: Sender) => s.say({ is: 'sums', files: [kept] })],
    ['an end in the middle of a file', (s: Sender) => finish(s, [header('x', { size: 5_000_000 })], [])],
    [
      'a whole that is not that of its files',
      (s: Sender) => {
        s.send(Buffer.concat([file('x', 'x'), end]))
        s.say(sums(['x', 'x']))
        s.say({ is: 'end', files: 1, bytes: 1, sha256: sha256('another') })
      },
    ],
  ])('is cut for %s, and leaves nothing', async (_, act) => {
    const last = await receiving(async sender => {
      sender.say(offer)
      await sender.hears('accept')
      act(sender)
      return await sender.finish()
    })
    expect(last).toMatchObject({ is: 'failed', code: 'internal' })
    expect(await readdir(at('in'))).toEqual([])
  })

  test('cannot choose a name that leads elsewhere for what it sends into a directory', async () => {
    await mkdir(at('in/tree'))
    for (const name of ['..', '.', '', '../x', 'a/b', '/etc', 'nul\0', '.fleetcat-x', 'n'.repeat(300)]) {
      const last = await receiving(async sender => {
        sender.say({ ...offer, name })
        return await sender.finish()
      })
      expect(last).toMatchObject({ is: 'failed', code: 'usage' })
    }
    expect(await readdir(at('in'), { recursive: true })).toEqual(['tree'])
  })
})

type Sender = ReturnType<typeof byHand>

const done = {
  is: 'done',
  target: '',
  files: 0,
  bytes: 0,
  kept: 0,
  directories: 0,
  links: 0,
  sha256: '',
} as const
const kept = { path: 'x', is: 'kept', size: 1, from: 1, sha256: sha256('x') } as const
const rest = pax({ 'FLEETCAT.from': '100' })

function framed(text: string): Buffer {
  const bytes = Buffer.from(text)
  const head = Buffer.from([1, 0, 0, 0, 0])
  head.writeUInt32BE(bytes.length, 1)
  return Buffer.concat([head, bytes])
}

function finish(sender: Sender, entries: readonly Buffer[], vouched: readonly (readonly [string, string])[]) {
  sender.send(Buffer.concat([...entries, end]))
  sender.say(sums(...vouched))
  sender.say(whole(...vouched))
}

describe('a receiver that means harm', () => {
  async function sending<T>(use: (receiver: Sender) => Promise<T>): Promise<T> {
    await using channel = await dialSide(`SEND:${at('permitted')}`)
    return await use(byHand(channel))
  }
  const accept = { is: 'accept', version: 1, target: '/', asks: true, dryRun: false } as const
  const answer = { is: 'there', sha256: sha256('another'), why: '', marks: [] } as const

  test.each([
    ['speaks another version', (r: Sender) => r.say({ ...accept, version: 2 })],
    ['sends a tar stream', (r: Sender) => r.send(Buffer.alloc(512))],
    ['says what only a sender says', (r: Sender) => r.say(offer)],
    [
      'answers more than it was asked',
      (r: Sender) => {
        r.say(accept)
        r.say({ is: 'answers', answers: Array.from({ length: 9 }, () => answer) })
      },
    ],
    [
      'has marks that go down',
      (r: Sender) => {
        const marks = [5, 3].map(offset => ({ offset, sha256: sha256('') }))
        r.say(accept)
        r.say({ is: 'answers', answers: [{ ...answer, marks }] })
      },
    ],
  ])('is cut when it %s', async (_, act) => {
    const last = await sending(async receiver => {
      act(receiver)
      return await receiver.finish()
    })
    expect(last).toMatchObject({ is: 'failed', code: 'internal' })
  })

  test('learns nothing by lies about what it has: all is sent to it', async () => {
    await sending(async receiver => {
      receiver.say(accept)
      await receiver.hears('list')
      const marks = [
        { offset: 4, sha256: sha256('wrong') },
        { offset: 4_000_000_000, sha256: sha256('') },
      ]
      receiver.say({ is: 'answers', answers: [answer, { ...answer, is: 'new', marks }] })
      await receiver.hears('end')
      expect(receiver.heard.flatMap(each => (each.is === 'sums' ? each.files : []))).toMatchObject([
        { path: 'file', is: 'sent', from: 0, sha256: sha256('harmless') },
      ])
    })
  })

  test('that never reads holds nothing up when its connection ends', async () => {
    await writeFile(at('permitted/large'), Buffer.alloc(30_000_000))
    await using channel = await dialSide(`SEND:${at('permitted')}`)
    channel.stream.write(messageFrame({ ...accept, asks: false }))
    await until('it has sent all that fits', () => channel.stream.readableLength > 0)
  })
})

describe('the ceiling', () => {
  test('permits each entry of a copy by itself', async () => {
    await writeFile(at('permitted/sub/deep'), 'deep')
    const one = ceiling([`SEND:${root}/permitted`, `SEND:${root}/permitted/*`])
    const { refused } = await copy(at('permitted'), at('in/one'), { from: one })
    expect(refused).toMatchObject([
      {
        path: 'sub/deep',
        why: expect.stringContaining(`add "SEND:${root}/permitted/sub/deep" under permit:`),
      },
    ])
    expect((await readdir(at('in/one'))).sort()).toEqual(['file', 'sub'])
    const narrow = ceiling([`RECEIVE:${root}/in/two`, `RECEIVE:${root}/in/two/f*`])
    const { refused: left } = await copy(at('permitted'), at('in/two'), { to: narrow })
    expect(left.map(({ path }) => path)).toEqual(['sub', 'sub/deep'])
    expect(await readdir(at('in/two'))).toEqual(['file'])
  })

  test('keeps what it forbids out of a copy of the directory above, by any name', async () => {
    await writeFile(at('permitted/sub/key'), 'private')
    const lines = [`SEND:${root}/permitted`, `SEND:${root}/permitted/**`]
    for (const forbidden of [`SEND:${root}/permitted/sub/*`, `OPEN:${root}/permitted/sub/key`]) {
      await using scratch = await openScratch()
      const target = join(scratch.path, 'copy')
      const { refused } = await copy(at('permitted'), target, { from: ceiling(lines, [forbidden]) })
      expect(refused).toMatchObject([{ path: 'sub/key', code: 'denied' }])
      expect(await readdir(join(target, 'sub'))).toEqual([])
    }
  })

  test('permits neither side without a line', async () => {
    const none = ceiling([`OPEN:${root}/**,creat`])
    await expect(dialSide(`SEND:${at('permitted')}`, none)).rejects.toMatchObject({
      code: 'denied',
      fix: `Permit it there: add "SEND:${root}/permitted" under permit: in agent.yaml`,
    })
    await expect(dialSide(`RECEIVE:${at('in/tree')},special-bits`, none)).rejects.toMatchObject({
      code: 'denied',
      fix: `Permit it there: add "RECEIVE:${root}/in/tree,special-bits" under permit: in agent.yaml`,
    })
    const some = ceiling([`RECEIVE:${root}/in/**`])
    await expect(dialSide(`RECEIVE:${at('in/tree')},special-bits`, some)).rejects.toMatchObject({
      code: 'denied',
    })
  })

  test('is asked about where links lead, on both sides', async () => {
    await symlink('../secret', at('permitted/out'))
    const lines = ceiling(['SEND', 'RECEIVE'].map(kind => `${kind}:${root}/permitted/**`))
    await expect(dialSide(`SEND:${at('permitted/out')}`, lines)).rejects.toMatchObject({ code: 'denied' })
    await expect(dialSide(`SEND:${at('permitted/out/file')}`, lines)).rejects.toMatchObject({
      code: 'denied',
    })
    await expect(dialSide(`RECEIVE:${at('permitted/out/new')}`, lines)).rejects.toMatchObject({
      code: 'denied',
    })
    await expect(copy(at('in'), at('permitted/out'), { to: lines })).rejects.toMatchObject({ code: 'denied' })
  })
})

test('a swapper of links and directories is given nothing, and gets nothing written elsewhere', async () => {
  await mkdir(at('source/place'), { recursive: true })
  for (const name of ['swapped', 'place/file', 'place/new'])
    await writeFile(at(`source/${name}`), 'overwritten')
  await link(at('source/swapped'), at('source/place/again'))
  const swapper = fork(join(import.meta.dirname, 'copy-swapper.ts'), [root])
  try {
    await new Promise(resolve => swapper.once('message', resolve))
    const lines = ceiling(
      ['SEND', 'RECEIVE'].flatMap(kind => [`${kind}:${root}/permitted`, `${kind}:${root}/permitted/**`]),
    )
    let copies = 0
    let failed = 0
    const deadline = performance.now() + 3_000
    while (performance.now() < deadline) {
      const target = at(`in/${copies}`)
      const outcomes = await Promise.allSettled([
        copy(at('permitted'), target, { from: lines }),
        copy(at('permitted/swapped'), `${target}-file`, { from: lines }),
        copy(at('source'), at('permitted'), { to: lines, options: 'exact' }),
        copy(at('source/place'), at('permitted/place'), { to: lines, options: 'exact,resume' }),
      ])
      copies += outcomes.filter(({ status }) => status === 'fulfilled').length
      failed += outcomes.filter(({ status }) => status === 'rejected').length
    }
    expect(copies).toBeGreaterThan(0)
    expect(failed).toBeGreaterThan(0)
    for (const entry of await readdir(at('in'), { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue
      expect(await readFile(join(entry.parentPath, entry.name), 'utf8')).not.toBe('secret')
    }
  } finally {
    swapper.kill('SIGKILL')
    await until('the swapper has gone', () => swapper.exitCode !== null || swapper.signalCode !== null)
  }
})

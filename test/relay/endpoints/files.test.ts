import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { appendFile, mkdir, readFile, rename, stat, symlink, unlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Channel, OpenContext } from '#relay/endpoint.ts'
import { bindAddress } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'
import { openPty } from '#relay/terminal/open-pty.ts'
import { terminalStream } from '#relay/terminal/terminal-stream.ts'
import { openContext } from '#test/resources/contexts.ts'
import { needing } from '#test/resources/needs.ts'
import { openScratch } from '#test/resources/scratch.ts'
import { failureOf, receive, send } from '#test/resources/streams.ts'
import { until } from '#test/resources/until.ts'

let scratch: Awaited<ReturnType<typeof openScratch>>
const at = (name: string) => join(scratch.path, name)
beforeEach(async () => {
  scratch = await openScratch()
})
afterEach(() => scratch[Symbol.asyncDispose]())

const dial = (text: string, parts: Partial<OpenContext> = {}) =>
  bindAddress(text).dialer!.dial(openContext(parts))

/** Writes to an address and closes it. */
async function put(text: string, bytes: string | Buffer): Promise<void> {
  await using channel = await dial(text, { uses: 'write' })
  await new Promise<void>((done, fail) => {
    channel.stream.once('error', fail)
    channel.stream.end(bytes, () => done())
  })
}

async function get(text: string): Promise<string> {
  await using channel = await dial(text, { uses: 'read' })
  return String(await receive(channel.stream))
}

const content = (name: string) => readFile(at(name), 'utf8')

describe('a file', () => {
  test('that is only read is a source, and ends where it ends', async () => {
    const bytes = randomBytes(3_000_001)
    await writeFile(at('file'), bytes)
    await using channel = await dial(`OPEN:${at('file')},rdonly`)
    expect(channel.oneWay).toBe('source')
    expect((await receive(channel.stream)).equals(bytes)).toBe(true)
    await new Promise<void>(done => channel.stream.end('swallowed', done))
    expect((await readFile(at('file'))).equals(bytes)).toBe(true)
  })

  test('that is only written is a sink: it takes all, and never ends by itself', async () => {
    await using channel = await dial(`OPEN:${at('file')},wronly,creat`)
    expect(channel.oneWay).toBe('sink')
    const pieces = [1, 70_000, 0, 300_007].map(size => randomBytes(size))
    await send(channel.stream, pieces)
    await new Promise<void>(done => channel.stream.end(done))
    expect(channel.stream.readableEnded).toBe(false)
    expect((await readFile(at('file'))).equals(Buffer.concat(pieces))).toBe(true)
  })

  test('that is read and written has one place for both, as a descriptor has', async () => {
    await writeFile(at('file'), 'what was there')
    await using channel = await dial(`OPEN:${at('file')}`)
    expect(channel.oneWay).toBe(undefined)
    expect(String(await receive(channel.stream))).toBe('what was there')
    await new Promise<void>(done => channel.stream.end(', and what came', done))
    expect(await content('file')).toBe('what was there, and what came')
  })

  test('of which the relay needs one half only is opened for that half', async () => {
    await writeFile(at('file'), 'secret')
    await using source = await dial(`OPEN:${at('file')}`, { uses: 'read' })
    await using sink = await dial(`OPEN:${at('file')}`, { uses: 'write' })
    expect([source.oneWay, sink.oneWay]).toEqual(['source', 'sink'])
    await expect(dial(`OPEN:${at('file')},rdonly`, { uses: 'write' })).rejects.toMatchObject({
      code: 'usage',
      why: 'it can only be read, and here it is only written',
    })
  })

  test('is closed while a call is still under way, without harm', async () => {
    const opened: Channel[] = []
    for (let i = 0; i < 50; i++) opened.push(await dial('OPEN:/dev/zero,rdonly'))
    for (const { stream } of opened) stream.resume()
    for (const channel of opened) channel.abort(new RelayError('revoked', { what: 'it' }))
    await Promise.all(opened.map(channel => channel[Symbol.asyncDispose]()))
    expect(opened.every(({ stream }) => stream.closed)).toBe(true)
  })

  test('with ignoreeof goes on where it grows, until the other side has ended', async () => {
    await writeFile(at('log'), 'one\n')
    await using channel = await dial(`OPEN:${at('log')},rdonly,ignoreeof`)
    let read = ''
    channel.stream.on('data', bytes => {
      read += bytes
    })
    await until('it is read', () => read === 'one\n')
    await appendFile(at('log'), 'two\n')
    await until('what was added is read', () => read === 'one\ntwo\n')
    channel.stream.end()
    await new Promise(resolve => channel.stream.once('end', resolve))
  })

  test('that is moved away while it is written goes on being written, by its descriptor', async () => {
    await using channel = await dial(`OPEN:${at('log')},append,creat,wronly`)
    await send(channel.stream, [Buffer.from('one ')])
    await until('it is there', async () => (await content('log')) === 'one ')
    await rename(at('log'), at('log.1'))
    await send(channel.stream, [Buffer.from('two')])
    await until('it has followed', async () => (await content('log.1')) === 'one two')
    await unlink(at('log.1'))
    await new Promise<void>(done => channel.stream.end('three', done))
    expect(channel.stream.errored).toBe(null)
  })
})

describe('the options', () => {
  beforeEach(() => writeFile(at('file'), '0123456789'))

  test.each([
    ['', 'ab23456789'],
    [',append', '0123456789ab'],
    [',trunc', 'ab'],
    [',ftruncate=4,append', '0123ab'],
    [',seek=3', '012ab56789'],
    [',seek-end=-2', '01234567ab'],
    [',seek=2,seek-cur=0x2', '0123ab6789'],
    [',seek-end=2', '0123456789\0\0ab'],
    [',sync', 'ab23456789'],
    [',dsync,noatime,nonblock,noctty,largefile', 'ab23456789'],
    [',flock-ex', 'ab23456789'],
  ])('OPEN%s', async (options, after) => {
    await put(`OPEN:${at('file')}${options}`, 'ab')
    expect(await content('file')).toBe(after)
  })

  test('creat makes what is missing, and excl only that', async () => {
    await expect(dial(`OPEN:${at('new')}`)).rejects.toMatchObject({
      code: 'not-found',
      fix: expect.stringContaining('creat'),
    })
    await put(`OPEN:${at('new')},creat,excl`, 'new')
    expect(await content('new')).toBe('new')
    await expect(dial(`OPEN:${at('new')},creat,excl`)).rejects.toMatchObject({ code: 'conflict' })
    await expect(dial(`OPEN:${at('no/new')},creat`)).rejects.toMatchObject({ why: /directory on the way/ })
  })

  test('mode and umask are for what is made, to the last bit, and perm-late is for all', async () => {
    const mode = async (name: string) => ((await stat(at(name))).mode & 0o7777).toString(8)
    await put(`OPEN:${at('a')},creat,mode=666`, '')
    await put(`CREATE:${at('b')},umask=027`, '')
    await put(`OPEN:${at('file')},mode=777`, '')
    expect([await mode('a'), await mode('b'), await mode('file')]).toEqual(['666', '640', '644'])
    await put(`OPEN:${at('file')},perm-late=600`, '')
    expect(await mode('file')).toBe('600')
  })

  test('unlink-early makes a new one, unlink-late and unlink-close leave none', async () => {
    await using held = await dial(`OPEN:${at('file')},rdonly`)
    await put(`OPEN:${at('file')},creat,unlink-early`, 'new')
    expect(String(await receive(held.stream))).toBe('0123456789')
    expect(await content('file')).toBe('new')
    {
      await using channel = await dial(`OPEN:${at('file')},unlink-late`)
      await expect(stat(at('file'))).rejects.toMatchObject({ code: 'ENOENT' })
      expect(String(await receive(channel.stream))).toBe('new')
    }
    await put(`OPEN:${at('file')},creat,unlink-close`, 'gone')
    await expect(stat(at('file'))).rejects.toMatchObject({ code: 'ENOENT' })
  })

  test('unlink-close spares what somebody else has put there', async () => {
    {
      await using _channel = await dial(`OPEN:${at('file')},unlink-close`)
      await rename(at('file'), at('old'))
      await writeFile(at('file'), 'another')
    }
    expect(await content('file')).toBe('another')
  })

  test('flock keeps others out until it is closed, and who waits can be called off', async () => {
    {
      await using _holder = await dial(`OPEN:${at('file')},flock-ex`)
      await expect(dial(`OPEN:${at('file')},flock-ex-nb`)).rejects.toMatchObject({ code: 'conflict' })
      const stop = new AbortController()
      const waiting = dial(`OPEN:${at('file')},flock-sh`, { signal: stop.signal })
      const reason = new RelayError('revoked', { what: 'it' })
      stop.abort(reason)
      await expect(waiting).rejects.toBe(reason)
    }
    await using one = await dial(`OPEN:${at('file')},flock-sh-nb`)
    await using two = await dial(`OPEN:${at('file')},flock-sh-nb`)
    expect([one.stream.closed, two.stream.closed]).toEqual([false, false])
  })

  needing('root')('user and group give it to somebody', async () => {
    await put(`OPEN:${at('new')},creat,user=daemon,group=1`, '')
    expect(await stat(at('new'))).toMatchObject({ uid: 1, gid: 1 })
    await expect(dial(`OPEN:${at('file')},user=nobody-at-all`)).rejects.toMatchObject({ code: 'not-found' })
  })

  test('nofollow refuses a link as the last part, which is followed otherwise', async () => {
    await symlink(at('file'), at('link'))
    expect(await get(`OPEN:${at('link')}`)).toBe('0123456789')
    await expect(dial(`OPEN:${at('link')},nofollow`)).rejects.toMatchObject({ code: 'denied' })
    await symlink(at('round'), at('round'))
    await expect(dial(`OPEN:${at('round')}`)).rejects.toMatchObject({ why: /in a circle/ })
    await symlink('made-by-link', at('dangling'))
    await put(`OPEN:${at('dangling')},creat`, 'made')
    expect(await content('made-by-link')).toBe('made')
  })
})

describe('GOPEN', () => {
  test('appends to what is there, and makes what is not', async () => {
    await put(`GOPEN:${at('file')}`, 'one')
    await put(at('file'), ' two')
    expect(await content('file')).toBe('one two')
    expect(await get(`${at('file')},rdonly`)).toBe('one two')
    await expect(get(at('missing'))).rejects.toMatchObject({ code: 'not-found' })
  })

  test('connects to a Unix socket', async () => {
    const server = createServer({ allowHalfOpen: true }, socket => void socket.pipe(socket))
    await new Promise<void>(done => server.listen(at('socket'), done))
    {
      await using channel = await dial(at('socket'))
      channel.stream.end('hello')
      expect(String(await receive(channel.stream))).toBe('hello')
    }
    await expect(dial(`OPEN:${at('socket')}`)).rejects.toMatchObject({ fix: 'Write UNIX-CONNECT or GOPEN' })
    await new Promise<unknown>(done => server.close(done))
  })
})

test('CREATE empties what is there and is only written', async () => {
  await writeFile(at('file'), 'a long text')
  await using channel = await dial(`CREAT:${at('file')}`)
  expect(channel.oneWay).toBe('sink')
  expect(await content('file')).toBe('')
})

describe('a device', () => {
  test('takes and gives as it does elsewhere', async () => {
    await put('OPEN:/dev/null', randomBytes(1_000_000))
    expect(await get('/dev/null')).toBe('')
    await using zero = await dial('/dev/zero')
    zero.stream.pause()
    const [bytes] = (await new Promise(done => {
      zero.stream.once('data', (chunk: Buffer) => done([chunk]))
      zero.stream.resume()
    })) as [Buffer]
    expect(bytes.every(byte => byte === 0)).toBe(true)
    await using full = await dial('OPEN:/dev/full,wronly')
    full.stream.write('lost')
    expect(await failureOf(full.stream)).toBe('ENOSPC')
  })

  test('that is a terminal is set as the address says, and carries bytes as they are', async () => {
    const { master, slavePath } = await openPty()
    const typist = await terminalStream(master)
    {
      await using channel = await dial(`FILE:${slavePath},raw,echo=0`)
      const typed = new Promise(done => channel.stream.once('data', (bytes: Buffer) => done(bytes)))
      typist.write('\x03\x04\r\n')
      expect(await typed).toEqual(Buffer.from('\x03\x04\r\n'))
      const shown = new Promise(done => typist.once('data', (bytes: Buffer) => done(bytes)))
      channel.stream.write('a\n')
      expect(await shown).toEqual(Buffer.from('a\n'))
    }
    typist.destroy()
    await new Promise(done => typist.once('close', done))
    await writeFile(at('file'), '')
    await expect(dial(`OPEN:${at('file')},raw`)).rejects.toMatchObject({ why: 'it is no terminal' })
  })
})

test('many pipes that nobody writes to, and terminals that nobody types at, stop nobody else', async () => {
  execFileSync('mkfifo', [at('silent')])
  await writeFile(at('file'), 'there')
  const silent = await Promise.all(Array.from({ length: 20 }, () => dial(`OPEN:${at('silent')},rdonly`)))
  for (const { stream } of silent) stream.resume()
  expect(await get(`OPEN:${at('file')}`)).toBe('there')
  await Promise.all(silent.map(channel => channel[Symbol.asyncDispose]()))
})

describe('a named pipe', () => {
  beforeEach(() => execFileSync('mkfifo', [at('pipe')]))

  test('that is read gives what is written to it, and ends when its last writer has closed it', async () => {
    await using channel = await dial(`OPEN:${at('pipe')},rdonly`)
    const all = receive(channel.stream)
    await writeFile(at('pipe'), 'through the pipe')
    expect(String(await all)).toBe('through the pipe')
  })

  test('that is written waits for its reader, who sees the end', async () => {
    const waiting = dial(`OPEN:${at('pipe')},wronly`)
    const reader = createReadStream(at('pipe'))
    const all = new Promise<string>(done => {
      let text = ''
      reader.on('data', chunk => {
        text += chunk
      })
      reader.on('close', () => done(text))
    })
    await using channel = await waiting
    channel.stream.end('through the pipe')
    expect(await all).toBe('through the pipe')
  })

  test('whose reader does not come is given up when it is called off', async () => {
    const stop = new AbortController()
    const waiting = dial(`OPEN:${at('pipe')},wronly`, { signal: stop.signal })
    const reason = new RelayError('revoked', { what: 'it' })
    setImmediate(() => stop.abort(reason))
    await expect(waiting).rejects.toBe(reason)
  })
})

describe('refusals', () => {
  test.each([
    ['OPEN', 'it has 0 arguments instead of 1. Write `OPEN:<path>`'],
    ['OPEN:/a:b', 'it has 2 arguments instead of 1'],
    ['OPEN:/a,rdonly,wronly', 'it has rdonly and wronly. Keep one of them'],
    ['OPEN:/a,excl', '`excl` alone does nothing'],
    ['OPEN:/a,rdonly,trunc', '`trunc` is for a file that is written'],
    ['OPEN:/a,direct', 'buffers whose place in memory'],
    ['OPEN:/a,setlk', 'one for all relays of a process'],
    ['OPEN:/a,seek', '`seek`: it needs a value'],
    ['OPEN:/a,seek=x', 'it is no number of bytes'],
    ['OPEN:/a,nonblock=0', 'would stop other relays'],
    ['CREATE:/a,rdonly', 'option `rdonly` is not one of CREATE'],
    ['CREATE:/a,creat=0', 'Write OPEN for anything else'],
    ['@db-1/OPEN:a', 'Write the whole path'],
  ])('%s', (text, message) => {
    expect(() => bindAddress(text)).toThrow(message)
  })

  test('a directory is no file', async () => {
    await mkdir(at('directory'))
    for (const how of [',rdonly', '']) {
      await expect(dial(`OPEN:${at('directory')}${how}`)).rejects.toMatchObject({ code: 'usage' })
    }
  })

  test('what the system denies is said with the path', async () => {
    await expect(dial('OPEN:/proc/version/x,rdonly')).rejects.toMatchObject({
      what: 'OPEN:/proc/version/x',
      code: 'usage',
    })
  })
})

test('the scope is a whole path, and says what an owner would ask about', () => {
  const scope = (text: string) => {
    const { keyword, args, options } = bindAddress(text).scope
    return [
      keyword,
      ...args,
      ...options.map(({ name, value }) => (value === undefined ? name : `${name}=${value}`)),
    ]
  }
  expect(scope('FILE:/a/../b,rdonly,seek=3')).toEqual(['OPEN', '/b', 'rdonly'])
  expect(scope('OPEN:/b,creat,append,mode=0660,sync')).toEqual(['OPEN', '/b', 'append', 'creat', 'mode=660'])
  expect(scope('OPEN:/b,creat,mode=600')).toEqual(['OPEN', '/b', 'creat'])
  expect(scope('OPEN:/b,append,trunc')).toEqual(['OPEN', '/b'])
  expect(scope('/b')).toEqual(['GOPEN', '/b', 'append'])
  expect(scope('/b,rdonly')).toEqual(['GOPEN', '/b', 'rdonly'])
  expect(scope('CREATE:/b,unlink-close,user=app,perm-late=4755')).toEqual([
    'CREATE',
    '/b',
    'wronly',
    'creat',
    'unlink-close',
    'user=app',
    'perm-late=4755',
  ])
})

import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { lstat, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { OpenContext } from '#relay/endpoint.ts'
import { bindAddress } from '#relay/endpoints/index.ts'
import { openContext } from '#test/resources/contexts.ts'
import { needing } from '#test/resources/needs.ts'
import { run } from '#test/resources/program.ts'
import { openScratch } from '#test/resources/scratch.ts'
import { digest, receive, writeUntilStalled } from '#test/resources/streams.ts'
import { until } from '#test/resources/until.ts'

let scratch: Awaited<ReturnType<typeof openScratch>>
const at = (name: string) => join(scratch.path, name)
const mode = async (name: string) => ((await lstat(at(name))).mode & 0o777).toString(8)
beforeEach(async () => {
  scratch = await openScratch()
})
afterEach(() => scratch[Symbol.asyncDispose]())

const dial = (text: string, parts: Partial<OpenContext> = {}) =>
  bindAddress(text).dialer!.dial(openContext(parts))

test('without a name what goes in comes out, at the pace at which it is read', async () => {
  await using channel = await dial('PIPE')
  const taken = await writeUntilStalled(channel.stream, 64 * 1_048_576)
  expect(taken).toBeLessThan(1_048_576)
  const out = digest(channel.stream)
  channel.stream.end(randomBytes(1_000_003))
  expect((await out).bytes).toBe(taken + 1_000_003)
})

test('with a name it is made, gives back what goes in, and is gone when it is closed', async () => {
  {
    await using channel = await dial(`FIFO:${at('pipe')},mode=622`)
    expect((await lstat(at('pipe'))).isFIFO()).toBe(true)
    expect(await mode('pipe')).toBe('622')
    channel.stream.write('through the pipe')
    const [bytes] = await once(channel.stream, 'data')
    expect(String(bytes)).toBe('through the pipe')
  }
  await expect(lstat(at('pipe'))).rejects.toMatchObject({ code: 'ENOENT' })
})

test('one that is there already stays', async () => {
  execFileSync('mkfifo', [at('pipe')])
  {
    await using _channel = await dial(`PIPE:${at('pipe')}`)
    await expect(dial(`PIPE:${at('pipe')},excl`)).rejects.toMatchObject({ code: 'conflict' })
  }
  expect((await lstat(at('pipe'))).isFIFO()).toBe(true)
})

test('one that is made for others to keep stays too', async () => {
  {
    await using _channel = await dial(`PIPE:${at('pipe')},unlink-close=0`)
  }
  expect((await lstat(at('pipe'))).isFIFO()).toBe(true)
})

test('a relay that only writes waits for the reader, and its end is the end of what is read', async () => {
  const dialling = dial(`PIPE:${at('pipe')}`, { uses: 'write' })
  await until('it is there', () => lstat(at('pipe')))
  const reader = readFile(at('pipe'), 'utf8')
  await using channel = await dialling
  expect(channel.oneWay).toBe('sink')
  channel.stream.end('all of it')
  expect(await reader).toBe('all of it')
})

test('a relay that only writes, and is called off while it waits, leaves no pipe behind', async () => {
  const stop = new AbortController()
  const dialling = dial(`PIPE:${at('pipe')}`, { uses: 'write', signal: stop.signal })
  await until('it is there', () => lstat(at('pipe')))
  stop.abort()
  await expect(dialling).rejects.toMatchObject({ code: 'closed' })
  await expect(lstat(at('pipe'))).rejects.toMatchObject({ code: 'ENOENT' })
})

test('a relay that only reads ends with the last writer', async () => {
  await using channel = await dial(`PIPE:${at('pipe')},rdonly`)
  await writeFile(at('pipe'), 'all of it')
  expect(String(await receive(channel.stream))).toBe('all of it')
})

test('what is no pipe is left alone', async () => {
  await writeFile(at('file'), 'a file')
  await expect(dial(`PIPE:${at('file')},perm-late=777`)).rejects.toMatchObject({ code: 'conflict' })
  expect(await readFile(at('file'), 'utf8')).toBe('a file')
  expect(await mode('file')).toBe('644')
})

needing('socat')('socat at the other end of it reads what is written, and is read', async () => {
  {
    await using channel = await dial(`PIPE:${at('in')},rdonly`)
    const all = receive(channel.stream)
    expect(await run(['socat', '-u', '-', `PIPE:${at('in')}`], { input: 'from socat' })).toMatchObject({
      code: 0,
    })
    expect(String(await all)).toBe('from socat')
  }
  const dialling = dial(`PIPE:${at('out')},wronly`)
  await until('it is there', () => lstat(at('out')))
  const reader = run(['socat', '-u', `OPEN:${at('out')}`, '-'])
  await using channel = await dialling
  channel.stream.end('to socat')
  expect(await reader).toEqual({ code: 0, stdout: 'to socat', stderr: '' })
})

test.each([
  ['PIPE:', 'the path is missing'],
  ['PIPE:/a:b', 'it has 2 arguments instead of 1'],
  ['PIPE:/a,rdonly,wronly', 'it has rdonly and wronly'],
  ['PIPE:/a,trunc', 'option `trunc` is not one of PIPE'],
  ['PIPE:/a,creat=0', 'a pipe that is not there is made'],
  ['PIPE,mode=600', 'option `mode` is not one of PIPE'],
])('%s is refused', (text, message) => {
  expect(() => bindAddress(text)).toThrow(message)
})

test('its scope says that it may be made', () => {
  const { scope } = bindAddress('PIPE:/run/../run/x,rdonly,mode=0666')
  expect(scope).toMatchObject({ keyword: 'PIPE', args: ['/run/x'] })
  expect(scope.options.map(({ name }) => name)).toEqual(['rdonly', 'creat', 'mode'])
})

import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdir, open, readFile, symlink, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Address } from '#relay/address.ts'
import { bindAddress } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'
import { openContext } from '#test/resources/contexts.ts'
import { openFolder } from '#test/resources/folder.ts'
import { run } from '#test/resources/program.ts'
import { openTestRelay, startRelay } from '#test/resources/relays.ts'
import { exchange, openClient } from '#test/resources/servers.ts'
import { receive } from '#test/resources/streams.ts'
import { until } from '#test/resources/until.ts'

let folder: AsyncDisposable & { readonly path: string }
beforeEach(async () => {
  folder = await openFolder()
})
afterEach(() => folder[Symbol.asyncDispose]())
const at = (name: string) => join(folder.path, name)

const oneShot = 'TCP4-LISTEN:0,bind=127.0.0.1'
const content = randomBytes(3_000_017)
const sha256 = createHash('sha256').update(content).digest()

test('curl gets the whole file, its length and its SHA-256', async () => {
  await writeFile(at('päck age.bin'), content)
  await using relay = await openTestRelay({ targets: [`HTTP-FILE:${at('päck age.bin')}`] })
  const url = `http://127.0.0.1:${relay.port}/`
  const { stdout: head } = await run(['curl', '-sD', '-', '-o', at('got'), url])
  expect(head).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
  expect(head).toContain(`content-length: ${content.length}\r\n`)
  expect(head).toContain(`x-checksum-sha256: ${sha256.toString('hex')}\r\n`)
  expect(head).toContain(`repr-digest: sha-256=:${sha256.toString('base64')}:\r\n`)
  expect(head).toContain("content-disposition: attachment; filename*=UTF-8''p%C3%A4ck%20age.bin\r\n")
  expect((await readFile(at('got'))).equals(content)).toBe(true)
  const headers = await run(['curl', '-sI', url])
  expect(headers.stdout).toContain(`x-checksum-sha256: ${sha256.toString('hex')}\r\n`)
})

test('an empty file is a file', async () => {
  await writeFile(at('empty'), '')
  await using relay = await openTestRelay({ targets: [`HTTP-FILE:${at('empty')}`] })
  const answer = await exchange(relay.port, 'GET / HTTP/1.1\r\n\r\n')
  expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n.*content-length: 0\r\n.*\r\n\r\n$/s)
})

describe('a listener without `fork`', () => {
  test('is done after one full download', async () => {
    await writeFile(at('file'), content)
    await using relay = await openTestRelay({ listen: oneShot, targets: [`HTTP-FILE:${at('file')}`] })
    const { code } = await run(['curl', '-so', at('got'), `http://127.0.0.1:${relay.port}/`])
    expect(code).toBe(0)
    await until('it is done', () => relay.relay.state.name === 'done')
    expect(relay.states).toEqual(['ready', 'done'])
  })

  test('listens again after a HEAD, a refusal, a silent client and a broken download', async () => {
    await writeFile(at('file'), Buffer.alloc(40_000_000))
    await using relay = await openTestRelay({ listen: oneShot, targets: [`HTTP-FILE:${at('file')}`] })
    const rounds = () => relay.states.filter(state => state === 'ready').length
    const again = (round: number) => until('it listens again', () => rounds() === round + 1)

    await run(['curl', '-sI', `http://127.0.0.1:${relay.port}/`])
    await again(1)
    expect(await exchange(relay.port, 'DELETE / HTTP/1.1\r\n\r\n')).toMatch(/ 405 /)
    await again(2)
    expect(await exchange(relay.port, '')).toBe('')
    await again(3)
    {
      await using client = await openClient(relay.port)
      client.write('GET / HTTP/1.1\r\n\r\n')
      await until('it has begun', () => client.bytesRead > 0)
    }
    await again(4)
    expect(relay.states).not.toContain('done')
    await run(['curl', '-so', '/dev/null', `http://127.0.0.1:${relay.port}/`])
    await until('it is done', () => relay.relay.state.name === 'done')
  })
})

test('a file that changes while it is sent is never delivered as a whole', async () => {
  await writeFile(at('file'), Buffer.alloc(40_000_000))
  await using relay = await openTestRelay({ targets: [`HTTP-FILE:${at('file')}`] })
  for (const change of [
    async () => {
      await using file = await open(at('file'), 'r+')
      await file.write('x', 39_999_999)
    },
    () => truncate(at('file'), 30_000_000),
  ]) {
    await using client = await openClient(relay.port)
    client.write('GET / HTTP/1.1\r\n\r\n')
    await until('the answer has begun', () => client.bytesRead > 0)
    client.pause()
    await change()
    const got = await receive(client).catch(() => Buffer.alloc(0))
    expect(got.length).toBeLessThan(40_000_000)
  }
})

test('a client that leaves or is cut ends the reading of the file', async () => {
  await writeFile(at('file'), '')
  await truncate(at('file'), 50_000_000_000)
  await using relay = await openTestRelay({ targets: [`HTTP-FILE:${at('file')}`] })
  await using client = await openClient(relay.port)
  client.write('GET / HTTP/1.1\r\n\r\n')
  await until('it was heard', () => (relay.opened[0]?.bytesIn ?? 0) > 0)
  const cut = relay.relay.cut(relay.opened[0]!.id, new RelayError('revoked', { what: 'it' }))
  expect(await cut).toBe(true)
  expect(relay.closed).toHaveLength(1)
  await using other = await openClient(relay.port)
  other.write('GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n')
  await until('it was heard', () => (relay.opened[1]?.bytesIn ?? 0) > 0)
  other.resetAndDestroy()
  await until('the other one is closed', () => relay.closed.length === 2)
})

test('what cannot be served is refused when it is opened, with the reason', async () => {
  await mkdir(at('folder'))
  execFileSync('mkfifo', [at('fifo')])
  const dial = (path: string) => bindAddress(`HTTP-FILE:${path}`).dialer!.dial(openContext())
  await expect(dial(at('none'))).rejects.toMatchObject({ code: 'not-found' })
  await expect(dial(at('folder'))).rejects.toMatchObject({ why: 'it is no regular file' })
  await expect(dial(at('fifo'))).rejects.toMatchObject({ why: 'it is no regular file' })
  await using relay = startRelay({ targets: [`HTTP-FILE:${at('none')}`, 'ECHO'] })
  await until('it is ready', () => relay.relay.state.name === 'ready')
  expect(await exchange(relay.port, 'the next target')).toBe('the next target')
})

test('a link that leads elsewhere is asked for by the name it leads to', async () => {
  await mkdir(at('public'))
  await writeFile(at('secret'), 'secret')
  await symlink('../secret', at('public/file'))
  const checkLed = (_: Address, { args: [path = ''] }: Address) => {
    throw new RelayError('denied', { what: path })
  }
  const cx = openContext({ egress: { check() {}, checkLed } })
  await expect(bindAddress(`HTTP-FILE:${at('public/file')}`).dialer!.dial(cx)).rejects.toMatchObject({
    code: 'denied',
    what: at('secret'),
  })
})

test('its scope is the whole path, for reading only', () => {
  const { scope } = bindAddress('HTTP-FILE:/srv/a/../file')
  expect(scope).toMatchObject({ keyword: 'HTTP-FILE', args: ['/srv/file'], options: [{ name: 'rdonly' }] })
  expect(() => bindAddress('HTTP-FILE')).toThrow(/Write `HTTP-FILE:<path>`/)
  expect(() => bindAddress('HTTP-FILE:/a,rdonly=0')).toThrow(/nothing is ever written to the file/)
})

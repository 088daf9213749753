import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { mkdir, rm, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { EgressPolicy } from '#relay/endpoint.ts'
import { RelayError } from '#relay/errors.ts'
import type { DumpFile } from '#relay/flow-settings.ts'
import { openFolder } from '#test/resources/folder.ts'
import { openTestRelay, startRelay } from '#test/resources/relays.ts'
import { exchange, openClient } from '#test/resources/servers.ts'
import { digest, send } from '#test/resources/streams.ts'
import { until } from '#test/resources/until.ts'

const mebibyte = 1_048_576

const dumped = (file: DumpFile) => ({ targets: ['ECHO'], flow: { dump: { format: 'text', file } as const } })

const timeless = (dump: string) => dump.replace(/^([<>]) \S+ \S+ /gm, '$1')

test('a dump tells what went which way on which connection, and is whole when the relay is closed', async () => {
  await using folder = await openFolder()
  const path = join(folder.path, 'wire.log')
  {
    await using relay = await openTestRelay(dumped({ path }))
    for (const words of ['one\n', 'two']) expect(await exchange(relay.port, words)).toBe(words)
  }
  expect(timeless(readFileSync(path, 'utf8'))).toBe(
    [
      '> length=4 from=0 to=3 connection=connection-1\none\n',
      '< length=4 from=0 to=3 connection=connection-1\none\n',
      '> length=3 from=0 to=2 connection=connection-2\ntwo\n',
      '< length=3 from=0 to=2 connection=connection-2\ntwo\n',
    ].join(''),
  )
  expect(statSync(path).mode & 0o777).toBe(0o600)
})

test('a file that is full is renamed, so many are kept, and what they hold is in order', async () => {
  await using folder = await openFolder()
  const path = join(folder.path, 'wire.log')
  {
    await using relay = await openTestRelay(dumped({ path, maxBytes: 400, keep: 3 }))
    for (let n = 100; n < 140; n++) await exchange(relay.port, `words ${n}\n`)
  }
  const names = readdirSync(folder.path).sort()
  expect(names).toEqual(['wire.log', 'wire.log.1', 'wire.log.2', 'wire.log.3'])
  for (const name of names) expect(statSync(join(folder.path, name)).size).toBeLessThanOrEqual(400)
  const all = [...names].reverse().map(name => readFileSync(join(folder.path, name), 'utf8'))
  const numbers = [...all.join('').matchAll(/^words (\d+)$/gm)].map(([, n]) => Number(n))
  expect(numbers.at(-1)).toBe(139)
  expect(numbers).toEqual([...numbers].sort((a, b) => a - b))
})

test('without any to keep, a full file begins anew', async () => {
  await using folder = await openFolder()
  const path = join(folder.path, 'wire.log')
  {
    await using relay = await openTestRelay(dumped({ path, maxBytes: 300, keep: 0 }))
    for (let n = 0; n < 20; n++) await exchange(relay.port, 'words\n')
  }
  expect(readdirSync(folder.path)).toEqual(['wire.log'])
  expect(statSync(path).size).toBeLessThanOrEqual(300)
})

test('a relay whose dump cannot be opened does not listen, says why, and tries again', async () => {
  await using folder = await openFolder()
  const path = join(folder.path, 'later/wire.log')
  await using relay = startRelay(dumped({ path }))
  const state = await until(
    'it is rejected',
    () => relay.relay.state.name === 'rejected' && relay.relay.state,
  )
  expect(state).toMatchObject({ error: { code: 'not-found', what: `dump file ${path}` } })
  await mkdir(join(folder.path, 'later'))
  await until('it listens', () => relay.relay.state.name === 'ready')
  expect(existsSync(path)).toBe(true)
})

test('a dump that breaks is told of, and harms no connection', async () => {
  await using folder = await openFolder()
  const inside = join(folder.path, 'inside')
  await mkdir(inside)
  const path = join(inside, 'wire.log')
  await using relay = await openTestRelay(dumped({ path, maxBytes: 1, keep: 50 }))
  await rm(inside, { recursive: true })
  expect(await exchange(relay.port, 'one')).toBe('one')
  await until('it is told of', () => relay.failed.length > 0)
  expect(relay.failed[0]).toMatchObject({ code: 'not-found', what: `dump file ${path}` })
  await until('it is counted', () => relay.refused.some(({ cause }) => cause === 'dump-dropped'))
  await mkdir(inside)
  await until('it is written again', async () => {
    expect(await exchange(relay.port, 'two')).toBe('two')
    return existsSync(path) && readFileSync(path, 'utf8').includes('two')
  })
  const missing = readdirSync(inside).map(name => readFileSync(join(inside, name), 'utf8'))
  expect(missing.join('')).toMatch(/^# \d+ pieces of \d+ bytes are missing here$/m)
})

const ruled = (forbidden: RegExp): EgressPolicy => {
  const check = ({ text }: { text: string }) => {
    if (forbidden.test(text)) throw new RelayError('denied', { what: text, why: 'the test says so' })
  }
  return { check, checkForbidden: check }
}

test('the file must be permitted, under its own name and under those that it is renamed to', async () => {
  await using folder = await openFolder()
  const path = join(folder.path, 'wire.log')
  for (const [forbidden, what] of [
    [/^OPEN:.*wire\.log,append,creat,wronly$/, `OPEN:${path},append,creat,wronly`],
    [/wire\.log\.4/, `OPEN:${path}.4,append,creat,wronly`],
  ] as const) {
    await using relay = startRelay({ ...dumped({ path }), egress: ruled(forbidden) })
    const state = await until(
      'it is rejected',
      () => relay.relay.state.name === 'rejected' && relay.relay.state,
    )
    expect(state).toMatchObject({ error: { code: 'denied', what } })
  }
  expect(existsSync(path)).toBe(false)
})

test('neither a link to a forbidden place nor a thing that is no file is written to', async () => {
  await using folder = await openFolder()
  const link = join(folder.path, 'link.log')
  await symlink(join(folder.path, 'secret'), link)
  await mkdir(join(folder.path, 'folder.log'))
  for (const path of [link, join(folder.path, 'folder.log'), '/dev/null']) {
    await using relay = startRelay({ ...dumped({ path }), egress: ruled(/secret/) })
    await until(`${path} is rejected`, () => relay.relay.state.name === 'rejected')
  }
  expect(existsSync(join(folder.path, 'secret'))).toBe(false)
})

test('the traffic of 256 MiB is dumped as far as the disk keeps up, counted where not, and memory stays', async () => {
  await using folder = await openFolder()
  const path = join(folder.path, 'wire.log')
  const flow = { dump: { format: 'hex', file: { path, maxBytes: 8 * mebibyte, keep: 1 } } } as const
  await using relay = await openTestRelay({ targets: ['DISCARD'], flow })
  await using client = await openClient(relay.port)
  const before = process.memoryUsage().rss
  let most = 0
  const chunk = Buffer.alloc(mebibyte, 'x')
  const chunks = function* () {
    for (let n = 0; n < 256; n++) {
      most = Math.max(most, process.memoryUsage().rss - before)
      yield chunk
    }
  }
  await send(client, chunks())
  client.end()
  const { bytes } = await digest(client)
  expect(bytes).toBe(0)
  await until('all has gone through', () => relay.closed[0]?.connection.bytesIn === 256 * mebibyte)
  expect(most).toBeLessThan(192 * mebibyte)
})

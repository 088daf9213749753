import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, realpathSync, utimesSync, writeFileSync } from 'node:fs'
import { symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Address } from '#relay/address.ts'
import type { Channel } from '#relay/endpoint.ts'
import { bindAddress } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'
import { matches, parsePattern } from '#relay/pattern.ts'
import { openContext } from '#test/resources/contexts.ts'
import { openTestRelay } from '#test/resources/relays.ts'
import { openScratch } from '#test/resources/scratch.ts'
import { openFakePort } from '#test/resources/serial/cables.ts'
import { receive } from '#test/resources/streams.ts'
import { until } from '#test/resources/until.ts'

const dial = (text: string, cx = openContext()): Promise<Channel> => bindAddress(text).dialer!.dial(cx)

/** A port with a relay that keeps its log, of which there is something already. */
async function openKept(files: Record<string, string> = {}, options = '') {
  const held = new AsyncDisposableStack()
  const scratch = held.use(await openScratch())
  const log = join(scratch.path, 'console.log')
  for (const [end, text] of Object.entries(files)) writeFileSync(log + end, text)
  const port = held.use(await openFakePort())
  const relay = held.use(await openTestRelay({ targets: [`SERIAL:${port.path},log=${log}${options}`] }))
  const read = async (options = '', cx = openContext()) => {
    await using channel = await dial(`SERIAL-LOG:${port.path}${options}`, cx)
    return (await receive(channel.stream)).toString()
  }
  return { port, relay, log, scratch, read, [Symbol.asyncDispose]: () => held.disposeAsync() }
}

const at = (hour: number, text: string) => `2026-01-01T${String(hour).padStart(2, '0')}:00:00.000Z ${text}\n`

test('what was written lately and long ago comes in its order, as much of it as is wanted', async () => {
  const files = {
    '.2': at(1, 'one') + at(2, 'two'),
    '.1': at(3, 'three') + at(4, 'four'),
    '': at(5, 'five') + at(6, 'six'),
  }
  const all = files['.2'] + files['.1'] + files['']
  await using kept = await openKept(files)
  expect(await kept.read()).toBe(all)
  const lines = all.split(/(?<=\n)/)
  for (const [n, line] of lines.entries()) {
    const rest = lines.slice(n).join('')
    expect(await kept.read(`,since=${line.slice(0, 24).replaceAll(':', '\\:')}`)).toBe(rest)
    expect(await kept.read(`,last=${rest.length}`)).toBe(rest)
    expect(await kept.read(`,last=${rest.length + 1}`)).toBe(rest)
  }
  expect(await kept.read(',since=2026-01-01T04\\:30Z,last=1k')).toBe(files[''])
  expect(await kept.read(',since=2026-01-01T07\\:00Z')).toBe('')
  expect(await kept.read(',since=2026-01-01T02\\:00Z,last=40')).toBe(lines.at(-1))
})

test('so long ago is counted by the clock of the host, and files that are older are not looked at', async () => {
  const line = (agoMs: number, text: string) => `${new Date(Date.now() - agoMs).toISOString()} ${text}\n`
  const files = { '.1': line(1_000, 'not looked at'), '': line(7_200_000, 'old') + line(600_000, 'new') }
  await using kept = await openKept(files)
  const longAgo = new Date(Date.now() - 86_400_000)
  utimesSync(`${kept.log}.1`, longAgo, longAgo)
  expect(await kept.read(',since=1h')).toMatch(/^\S+ new\n$/)
  expect(await kept.read(',since=3h')).toMatch(/^\S+ old\n\S+ new\n$/)
})

test('times are found wherever the pieces of a file begin, and a line without an end is one too', async () => {
  const filler = at(1, 'x'.repeat(65_500))
  for (let shift = 0; shift < 40; shift++) {
    await using kept = await openKept({ '': `${filler.slice(0, -shift - 1)}\n${at(2, 'found')}login: ` })
    expect(await kept.read(',since=2026-01-01T02\\:00Z')).toBe(`${at(2, 'found')}login: `)
  }
})

test('who follows gets each line once, over files that are renamed', async () => {
  await using kept = await openKept({}, ',log-size=2k,log-keep=3')
  await using channel = await dial(`SERIAL-LOG:${kept.port.path},follow`)
  let text = ''
  channel.stream.on('data', bytes => {
    text += bytes
  })
  const count = 300
  for (let n = 0; n < count; n++) {
    kept.port.far.write(`line ${n}\n`)
    if (n % 20 === 0) await until('it is there', () => text.includes(`line ${n}\n`))
  }
  await until('all is there', () => text.includes(`line ${count - 1}\n`))
  const lines = text.split('\n').map(line => line.replace(/^\S+ /, ''))
  expect(lines.filter(line => line.startsWith('line'))).toEqual(
    Array.from({ length: count }, (_, n) => `line ${n}`),
  )
  expect(existsSync(`${kept.log}.3`)).toBe(true)
  await kept.relay.relay.abort(new RelayError('revoked', { what: 'the relay' }))
  await once(channel.stream, 'end')
})

test('a log that is large is not read sooner than somebody takes it, and then whole', async () => {
  const line = at(1, 'x'.repeat(100))
  const file = line.repeat(120_000)
  await using kept = await openKept({ '.2': file, '.1': file, '': file })
  const before = process.memoryUsage()
  await using channel = await dial(`SERIAL-LOG:${kept.port.path}`)
  channel.stream.once('readable', () => {})
  await until('something is there', () => channel.stream.readableLength > 0)
  const seen: number[] = []
  await until('nothing more is read', () => {
    seen.unshift(channel.stream.readableLength)
    return seen.length > 20 && seen.slice(0, 20).every(length => length === seen[0])
  })
  expect(process.memoryUsage().arrayBuffers - before.arrayBuffers).toBeLessThan(8_000_000)
  let length = 0
  for await (const bytes of channel.stream) length += bytes.length
  expect(length).toBe(3 * file.length)
})

test('a port of which no relay keeps a log has none, by whatever name', async () => {
  await using kept = await openKept({ '': at(1, 'one') })
  const alias = join(kept.scratch.path, 'by-id')
  await symlink(kept.port.path, alias)
  await using channel = await dial(`SERIAL-LOG:${alias}`)
  expect((await receive(channel.stream)).toString()).toBe(at(1, 'one'))
  await using other = await openFakePort()
  await using _shared = await dial(`SERIAL:${other.path},share`)
  await expect(dial(`SERIAL-LOG:${other.path}`)).rejects.toMatchObject({
    code: 'not-found',
    message: expect.stringContaining('log='),
  })
  await kept.relay.relay.abort(new RelayError('revoked', { what: 'the relay' }))
  await expect(kept.read()).rejects.toMatchObject({ code: 'not-found' })
})

test('the ceiling lets who may watch the port and read the file, and a link leads nowhere else', async () => {
  const permits = (line: string, text: string) => matches(parsePattern(line), bindAddress(text).scope)
  expect(permits('SERIAL:/dev/ttyUSB*,watch', 'SERIAL-LOG:/dev/ttyUSB0,since=2h')).toBe('yes')
  expect(permits('SERIAL:/dev/ttyUSB*', 'SERIAL-LOG:/dev/ttyUSB0')).toBe('yes')
  expect(permits('SERIAL-LOG:/dev/ttyUSB*', 'SERIAL-LOG:/dev/ttyUSB0')).toBe('yes')
  expect(permits('SERIAL-LOG:/dev/ttyUSB*', 'SERIAL:/dev/ttyUSB0,watch')).toBe('no')
  expect(permits('SERIAL:/dev/ttyS*', 'SERIAL-LOG:/dev/ttyUSB0')).toBe('no')

  await using kept = await openKept({ '': at(1, 'one') })
  const asked: string[] = []
  const allowing = (isAllowed: (text: string) => boolean) =>
    openContext({
      egress: {
        check({ text }) {
          asked.push(text)
          if (!isAllowed(text)) throw new RelayError('denied', { what: text })
        },
      },
    })
  await expect(
    kept.read(
      '',
      allowing(text => !text.startsWith('OPEN')),
    ),
  ).rejects.toMatchObject({
    code: 'denied',
    what: `OPEN:${kept.log},rdonly`,
  })
  await expect(
    kept.read(
      '',
      allowing(text => !text.startsWith('SERIAL')),
    ),
  ).rejects.toMatchObject({ code: 'denied' })
  expect(
    await kept.read(
      '',
      allowing(() => true),
    ),
  ).toBe(at(1, 'one'))
  const alias = join(kept.scratch.path, 'by-id')
  await symlink(kept.port.path, alias)
  const denied = new RelayError('denied', { what: 'a test' })
  const led = openContext({
    egress: {
      check() {},
      checkLed() {
        throw denied
      },
    },
  })
  await expect(dial(`SERIAL-LOG:${alias}`, led)).rejects.toBe(denied)
  // What was renamed to one of them since is none of them.
  mkdirSync(`${kept.log}.1`)
  await symlink('/etc/passwd', `${kept.log}.2`)
  expect(await kept.read()).toBe(at(1, 'one'))
  expect(readFileSync(kept.log, 'utf8')).toBe(at(1, 'one'))
})

test.each(['real', 'link'])(
  'an old file that may not be read is not, whatever leads to it (%s)',
  async folder => {
    await using scratch = await openScratch()
    await using port = await openFakePort()
    const real = join(realpathSync(scratch.path), 'real')
    mkdirSync(real)
    await symlink(real, join(scratch.path, 'link'))
    writeFileSync(join(real, 'console.log.1'), at(1, 'one'))
    const log = join(realpathSync(scratch.path), folder, 'console.log')
    await using _ = await openTestRelay({ targets: [`SERIAL:${port.path},log=${log}`] })
    const read = async (forbidden: string) => {
      const pattern = parsePattern(`OPEN:${forbidden},rdonly`, 'forbid')
      const checkForbidden = (scope: Address) => {
        if (matches(pattern, scope, undefined, 'forbid') === 'yes')
          throw new RelayError('denied', { what: scope.text })
      }
      const cx = openContext({ egress: { check: checkForbidden, checkForbidden } })
      await using channel = await dial(`SERIAL-LOG:${port.path}`, cx)
      return (await receive(channel.stream)).toString()
    }
    expect(await read(`${real}/another.log.1`)).toBe(at(1, 'one'))
    expect(await read(`${real}/console.log.1`).catch(() => 'refused')).not.toContain('one')
  },
)

test.each<[string, RegExp]>([
  ['SERIAL-LOG', /0 arguments/],
  ['SERIAL-LOG:/dev/ttyS0,since=yesterday', /neither a duration nor a time.*since=2h/s],
  ['SERIAL-LOG:/dev/ttyS0,since=2026-13-40T10\\:00Z', /neither a duration nor a time/],
  ['SERIAL-LOG:/dev/ttyS0,last=0', /no number of bytes/],
  ['SERIAL-LOG:/dev/ttyS0,watch=0', /nothing is ever written/],
  ['@edge/SERIAL-LOG:ttyS0', /whole path/],
])('%s is refused, with what would be right', (text, message) => {
  expect(() => bindAddress(text)).toThrow(message)
})

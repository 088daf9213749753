import { randomBytes } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { bindAddress } from '#relay/endpoints/index.ts'
import { loadLibc } from '#relay/native/libc.ts'
import { conformance } from '#test/conformance/endpoint.ts'
import { openContext } from '#test/resources/contexts.ts'
import { needing } from '#test/resources/needs.ts'
import { run } from '#test/resources/program.ts'
import { openScratch } from '#test/resources/scratch.ts'
import { startInTerminal } from '#test/resources/terminal-program.ts'
import { until } from '#test/resources/until.ts'

const program = join(import.meta.dirname, '../programs/joined.ts')

/** A line of the shell, in which `$R` is a relay of one process: `$R ADDRESS ADDRESS`. */
const shell = (line: string, input?: string) =>
  run(['bash', '-o', 'pipefail', '-c', line], {
    env: { R: `${process.execPath} ${program}` },
    ...(input !== undefined && { input }),
  })

/** Answers with what it was told, once its client has said all. */
async function openServer() {
  const server = createServer({ allowHalfOpen: true }, socket => {
    const said: Buffer[] = []
    socket.on('data', chunk => said.push(chunk)).on('end', () => socket.end(Buffer.concat(said)))
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  return {
    address: `TCP4:127.0.0.1:${port}`,
    [Symbol.asyncDispose]: () => new Promise<void>(resolve => server.close(() => resolve())),
  }
}

needing('bash')('what stdin has is sent, and what answers after its end is written to stdout', async () => {
  await using server = await openServer()
  const text = 'a line\n'.repeat(50_000)
  expect(await shell(`$R - ${server.address}`, text)).toEqual({ code: 0, stdout: text, stderr: 'eof \n' })
})

needing('bash')(
  'files in place of pipes are read to their end and written from where they stand',
  async () => {
    await using scratch = await openScratch()
    await using server = await openServer()
    const [from, to] = [join(scratch.path, 'from'), join(scratch.path, 'to')]
    const bytes = randomBytes(1_000_003)
    await writeFile(from, bytes)
    const line = `{ printf 'before '; $R STDIO ${server.address}; printf ' after'; } <${from} >${to}`
    expect(await shell(line)).toMatchObject({ code: 0, stderr: 'eof \n' })
    expect(
      (await readFile(to)).equals(Buffer.concat([Buffer.from('before '), bytes, Buffer.from(' after')])),
    ).toBe(true)
  },
)

needing('bash')('no stdin at all is an end, and the answer is still waited for', async () => {
  await using server = await openServer()
  for (const nothing of ['</dev/null', '<&-']) {
    expect(await shell(`$R - ${server.address} ${nothing}`)).toEqual({
      code: 0,
      stdout: '',
      stderr: 'eof \n',
    })
  }
})

needing('bash')('whoever no longer reads stdout ends the connection', async () => {
  const { stdout, stderr } = await shell('$R - ZERO </dev/null | head -c 100000 | wc -c')
  expect(stdout).toMatch(/^100000\n/)
  expect(stderr).toMatch(/^failed the connection with STDIO: the far side no longer reads \(EPIPE\)/)
})

needing('bash')('the one-way halves carry one way', async () => {
  expect(await shell('$R STDIN STDOUT -u', 'hello')).toMatchObject({ stdout: 'hello', stderr: 'eof \n' })
  expect(await shell('$R STDIN STDERR -u', 'hello')).toMatchObject({ stdout: '', stderr: 'helloeof \n' })
  expect((await shell('$R STDOUT STDIN -u')).stderr).toMatch(/^rejected: STDOUT: it can only be written/)
})

needing('bash')('a descriptor of the shell is used for what it was opened for', async () => {
  await using scratch = await openScratch()
  const file = join(scratch.path, 'file')
  await writeFile(file, 'what is there')
  expect(await shell(`$R FD:3 - 3<${file}`, 'lost')).toMatchObject({ stdout: 'what is there' })
  expect(await shell(`$R - 3 3>>${file}`, ', and more')).toMatchObject({ stderr: 'eof \n' })
  expect(await readFile(file, 'utf8')).toBe('what is there, and more')
  expect((await shell('$R FD:77 -')).stderr).toMatch(/^rejected: FD:77: the process was not started with/)
})

const inTerminal = (...addresses: string[]) => startInTerminal([process.execPath, program, ...addresses])

test('a terminal carries lines, and is afterwards as it was before', async () => {
  await using terminal = await inTerminal('-', 'ECHO')
  const before = terminal.settings()
  terminal.type('hello\n')
  await terminal.shows(/hello\r\nhello\r\n/)
  terminal.type('\x04')
  expect(await terminal.ended).toEqual({ code: 0, stderr: 'eof \n' })
  expect(terminal.settings()).toBe(before)
})

test('a terminal is set as the address says for as long as it is used', async () => {
  await using terminal = await inTerminal('-,raw,echo=0,escape=0x1d', 'ECHO')
  const before = terminal.settings()
  await until('it is set', () => terminal.isRaw())
  terminal.type('a\x04\x03b')
  await until('all of it came back', () => terminal.shown() === 'a\x04\x03b')
  terminal.type('\x1d')
  expect(await terminal.ended).toEqual({ code: 0, stderr: 'eof \n' })
  expect(terminal.settings()).toBe(before)
})

needing('bash')('what is no terminal cannot be set as one', async () => {
  expect((await shell('$R -,raw ECHO', '')).stderr).toMatch(/^rejected: STDIO: it is no terminal/)
})

conformance('FD', {
  resets: false,
  async open() {
    const pair = Buffer.alloc(8)
    ;(await loadLibc('a test')).socketpair(1, 1, 0, pair)
    const [near, far] = await Promise.all(
      [0, 4].map(at => bindAddress(`FD:${pair.readInt32LE(at)}`).dialer!.dial(openContext())),
    )
    return {
      near: near!,
      far: far!,
      async [Symbol.asyncDispose]() {
        await near![Symbol.asyncDispose]()
        await far![Symbol.asyncDispose]()
      },
    }
  },
  unreachable: () => ({ endpoint: bindAddress('FD:987654'), code: 'not-found' }),
})

describe('refusals', () => {
  test.each([
    ['STDIO:1', 'STDIO takes no arguments. Write `STDIO`'],
    ['FD', 'it has no number of a descriptor. Write e.g. `FD:3`'],
    ['FD:-1', 'it has no number of a descriptor'],
  ])('%s', (text, message) => {
    expect(() => bindAddress(text)).toThrow(message)
  })

  test('the event loop of the process is nobody else to use', async () => {
    const { readdirSync, readlinkSync } = await import('node:fs')
    const fd = readdirSync('/proc/self/fd').find(each => {
      try {
        return readlinkSync(`/proc/self/fd/${each}`).includes('eventpoll')
      } catch {
        return false
      }
    })
    await expect(bindAddress(`FD:${fd}`).dialer!.dial(openContext())).rejects.toMatchObject({ code: 'usage' })
  })
})

import { readFile, writeFile } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { bindAddress } from '#relay/endpoints/index.ts'
import { run } from '#test/resources/program.ts'
import { openScratch } from '#test/resources/scratch.ts'
import { startInTerminal } from '#test/resources/terminal-program.ts'
import { until } from '#test/resources/until.ts'

const program = join(import.meta.dirname, '../programs/joined.ts')

/** A program on the other side, which the test speaks for. */
async function openFarSide() {
  let socket: Socket | undefined
  let heard = ''
  const server = createServer({ allowHalfOpen: true }, connected => {
    socket = connected
    connected.on('data', bytes => {
      heard += bytes
    })
    connected.on('end', () => connected.end())
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return {
    address: `TCP4:127.0.0.1:${(server.address() as { port: number }).port}`,
    heard: () => heard,
    says: async (text: string) => (await until('somebody is there', () => socket)).write(text),
    [Symbol.asyncDispose]: () => new Promise<void>(resolve => server.close(() => resolve())),
  }
}

const start = (readline: string, target: string) =>
  startInTerminal([process.execPath, program, readline, target])

test('lines are edited before they are sent, and what comes is shown above the line being typed', async () => {
  await using far = await openFarSide()
  await using terminal = await start('READLINE', far.address)
  const before = terminal.settings()
  await far.says('welcome\nname: ')
  await terminal.shows(/welcome\r\n[\s\S]*name: /)
  terminal.type('hellp\x7fo')
  await terminal.shows(/hellp/)
  expect(far.heard()).toBe('')
  await far.says('by the way\nname: ')
  await terminal.shows(/by the way\r\n[\s\S]*name: hello/)
  terminal.type('\r')
  await until('the line is sent', () => far.heard() === 'hello\n')
  terminal.type('\x1b[A!\r')
  await until('it is sent again, changed', () => far.heard() === 'hello\nhello!\n')
  terminal.type('\x04')
  expect(await terminal.ended).toEqual({ code: 0, stderr: 'eof \n' })
  expect(terminal.settings()).toBe(before)
})

test('a password is neither shown nor remembered', async () => {
  await using scratch = await openScratch()
  const history = join(scratch.path, 'history')
  await writeFile(history, 'from before\n')
  await using far = await openFarSide()
  await using terminal = await start(`READLINE,history=${history},noecho=[Pp]assword:`, far.address)
  await far.says('Password: ')
  await terminal.shows(/Password: /)
  terminal.type('sesame\r')
  await until('it is sent', () => far.heard() === 'sesame\n')
  await far.says('in\n> ')
  await terminal.shows(/in\r\n[\s\S]*> /)
  terminal.type('open\r')
  await until('the next is sent', () => far.heard() === 'sesame\nopen\n')
  terminal.type('\x1b[A\x1b[A\r')
  await until('what was there before is repeated', () => far.heard().endsWith('from before\n'))
  terminal.type('\x04')
  await terminal.ended
  expect(terminal.shown()).toContain('open')
  expect(terminal.shown()).not.toContain('sesame')
  expect(await readFile(history, 'utf8')).toBe('from before\nopen\nfrom before\n')
})

test('a prompt of its own is shown where there is no other', async () => {
  await using far = await openFarSide()
  await using terminal = await start('READLINE,prompt="> "', far.address)
  await terminal.shows(/> /)
  terminal.type('a\r')
  await until('it is sent', () => far.heard() === 'a\n')
  await terminal.shows(/> [\s\S]*> /)
})

test('what is no terminal is refused, with what to write instead', async () => {
  const { stderr } = await run([process.execPath, program, 'READLINE', 'ECHO'])
  expect(stderr).toBe('rejected: READLINE: standard input is no terminal. Write STDIO\n')
})

test.each([
  ['READLINE:1', 'takes no arguments'],
  ['READLINE,noecho=\\(', 'Write e.g. `noecho=^[Pp]assword:`'],
  ['READLINE,history', 'it needs a value'],
])('%s is refused', (text, message) => {
  expect(() => bindAddress(text)).toThrow(message)
})

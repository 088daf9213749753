import { randomBytes } from 'node:crypto'
import { closeSync, existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { openPty } from '#relay/terminal/open-pty.ts'
import { terminalStream } from '#relay/terminal/terminal-stream.ts'
import { needing } from '#test/resources/needs.ts'
import { run, startProgram } from '#test/resources/program.ts'
import { ended, receive, writeUntilStalled } from '#test/resources/streams.ts'
import { destroyed, gather, openTerminal, terminalPair } from '#test/resources/terminals.ts'
import { until } from '#test/resources/until.ts'

describe('a pseudo-terminal', () => {
  test('has a master that children do not inherit, and a device that is gone with it', async () => {
    const { master, slavePath } = await openPty()
    const flags = await readFile(`/proc/self/fdinfo/${master}`, 'utf8')
    const bits = Number.parseInt(/flags:\s+(\d+)/.exec(flags)![1]!, 8)
    expect(bits & 0o2000000, 'close-on-exec').not.toBe(0)
    expect(bits & 0o4000, 'non-blocking').not.toBe(0)
    expect(existsSync(slavePath)).toBe(true)
    closeSync(master)
    expect(existsSync(slavePath)).toBe(false)
  })

  test('carries bytes both ways as they were', async () => {
    await using pair = await terminalPair()
    const [there, back] = [randomBytes(300_007), randomBytes(65_537)]
    const atSlave = gather(pair.slave, there.length)
    const atMaster = gather(pair.master, back.length)
    pair.master.write(there)
    pair.slave.write(back)
    expect((await atSlave).equals(there)).toBe(true)
    expect((await atMaster).equals(back)).toBe(true)
  })

  test('ends for the master when nobody has the device open any more, after all that was written', async () => {
    await using pair = await terminalPair()
    const sent = randomBytes(200_001)
    pair.slave.write(sent)
    const received = receive(pair.master)
    await until('it is written', () => pair.slave.writableLength === 0)
    await destroyed(pair.slave)
    expect((await received).equals(sent)).toBe(true)
  })

  test('loses nothing when its reader was slow and its writer has left', async () => {
    await using pair = await terminalPair()
    const sent = randomBytes(3_000)
    pair.slave.write(sent)
    pair.master.once('readable', () => {})
    await until('it is written', () => pair.slave.writableLength === 0)
    await destroyed(pair.slave)
    expect((await receive(pair.master)).equals(sent)).toBe(true)
  })

  test('swallows what is written when nobody is there any more', async () => {
    await using pair = await terminalPair()
    await destroyed(pair.slave)
    await ended(pair.master)
    await new Promise<void>((resolve, reject) =>
      pair.master.write('late', error => (error ? reject(error) : resolve())),
    )
    expect(pair.master.errored).toBe(null)
  })

  test('stalls a writer whose reader does not read, without holding up anything else', async () => {
    await using pair = await terminalPair()
    const taken = await writeUntilStalled(pair.master, 1_048_576)
    expect(taken).toBeLessThan(1_048_576)
    const received = gather(pair.slave, taken)
    expect((await received).length).toBe(taken)
  })

  test('closes at once though its writer is stalled, and tells who has the device open', async () => {
    await using pair = await terminalPair()
    await writeUntilStalled(pair.master, 1_048_576)
    const atSlave = ended(pair.slave)
    await destroyed(pair.master)
    await atSlave
  })

  needing('python3')('is a terminal to a program of another language', async () => {
    const { master, slavePath } = await openPty()
    const stream = await terminalStream(master)
    const script = `
import os, sys, tty
fd = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY)
tty.setraw(fd)
print(os.isatty(fd), os.ttyname(fd), flush=True)
os.write(fd, b'ready')
os.write(fd, b'got ' + os.read(fd, 100))
`
    await using program = startProgram(['python3', '-c', script, slavePath])
    await program.says(new RegExp(`True ${slavePath}`))
    expect((await gather(stream, 5)).toString()).toBe('ready')
    stream.write('hello')
    expect((await receive(stream)).toString()).toBe('got hello')
    await destroyed(stream)
  })

  needing('socat')('is a terminal to socat', async () => {
    const { master, slavePath } = await openPty()
    const stream = await terminalStream(master)
    await using _keeper = keep(await openTerminal(slavePath))
    const { stdout } = await (async () => {
      const outcome = run(['socat', '-t', '0.2', `${slavePath},rawer`, 'EXEC:"printf hello"'])
      return { stdout: (await gather(stream, 5)).toString(), code: (await outcome).code }
    })()
    expect(stdout).toBe('hello')
    await destroyed(stream)
  })
})

function keep(stream: Awaited<ReturnType<typeof terminalStream>>): AsyncDisposable {
  return { [Symbol.asyncDispose]: () => destroyed(stream) }
}

import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, lstatSync, readlinkSync } from 'node:fs'
import { mkdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Channel, Listener } from '#relay/endpoint.ts'
import { bindAddress } from '#relay/endpoints/index.ts'
import { memoryPair } from '#relay/endpoints/memory-pair.ts'
import { RelayError } from '#relay/errors.ts'
import { pump } from '#relay/pump.ts'
import { openContext } from '#test/resources/contexts.ts'
import { openFolder } from '#test/resources/folder.ts'
import { needing } from '#test/resources/needs.ts'
import { run, startProgram } from '#test/resources/program.ts'
import { openTestRelay } from '#test/resources/relays.ts'
import { ended, receive, writeUntilStalled } from '#test/resources/streams.ts'
import { destroyed, gather, openTerminal } from '#test/resources/terminals.ts'
import { until } from '#test/resources/until.ts'

const listen = (text: string, cx = openContext()): Promise<Listener> => bindAddress(text).acceptor!.listen(cx)
const dial = (text: string, cx = openContext()): Promise<Channel> => bindAddress(text).dialer!.dial(cx)
const reason = new RelayError('revoked', { what: 'the connection', why: 'the test says so' })

let folder: AsyncDisposable & { readonly path: string }
beforeEach(async () => {
  folder = await openFolder()
})
afterEach(() => folder[Symbol.asyncDispose]())
const at = (name: string) => join(folder.path, name)
const link = () => at('modem')
const isThere = (path: string) => lstatSync(path, { throwIfNoEntry: false }) !== undefined

/** A program that has the terminal open, until the test is done with it. */
async function program(
  path: string,
  options?: string,
): Promise<AsyncDisposable & { readonly stream: Duplex }> {
  const stream = await openTerminal(path, options)
  return { stream, [Symbol.asyncDispose]: () => destroyed(stream) }
}

describe('a PTY keeps the contract of a channel, as far as a terminal has an end', () => {
  for (const size of [0, 1, 65_537]) {
    test(`${size} bytes each way arrive as they were`, async () => {
      await using near = await dial(`PTY,rawer,link=${link()}`)
      await using far = await program(link())
      const [there, back] = [randomBytes(size), randomBytes(size)]
      const [atFar, atNear] = [gather(far.stream, size), gather(near.stream, size)]
      near.stream.end(there)
      far.stream.write(back)
      expect((await atFar).equals(there)).toBe(true)
      expect((await atNear).equals(back)).toBe(true)
    })
  }

  test('8 MiB in odd pieces arrive byte by byte, both ways at once', async () => {
    await using near = await dial(`PTY,rawer,link=${link()}`)
    await using far = await program(link())
    const bytes = randomBytes(8 * 1_048_576)
    const [atFar, atNear] = [gather(far.stream, bytes.length), gather(near.stream, bytes.length)]
    for (let from = 0; from < bytes.length; from += 300_007) {
      const piece = bytes.subarray(from, from + 300_007)
      if (!near.stream.write(piece)) await once(near.stream, 'drain')
      if (!far.stream.write(piece)) await once(far.stream, 'drain')
    }
    expect((await atFar).equals(bytes)).toBe(true)
    expect((await atNear).equals(bytes)).toBe(true)
  })

  test('an abort is seen by the program, does not wait for it, and may be repeated', async () => {
    await using near = await dial(`PTY,rawer,link=${link()}`)
    await using far = await program(link())
    await writeUntilStalled(near.stream, 1_048_576)
    near.abort(reason)
    near.abort(reason)
    await near[Symbol.asyncDispose]()
    near.abort(reason)
    await ended(far.stream)
    expect(isThere(link())).toBe(false)
  })

  test('disposal closes, and may be repeated', async () => {
    const near = await dial('PTY,rawer')
    const { text } = near.peer
    expect(text).toMatch(/^\/dev\/pts\/\d+$/)
    await near[Symbol.asyncDispose]()
    await near[Symbol.asyncDispose]()
    expect(near.stream.destroyed).toBe(true)
    expect(existsSync(text)).toBe(false)
  })

  test('a silent conversation ends by its idle limit', async () => {
    await using near = await dial('PTY,rawer')
    const [inner, outer] = memoryPair({ text: 'memory:inner' }, { text: 'memory:outer' })
    await using _outer = outer
    await using _inner = inner
    const end = pump(near, inner, { idleMs: 30 }, new AbortController().signal)
    expect(await end).toEqual({ end: 'idle', sent: 0, received: 0 })
  })

  test('a dial that is called off leaves nothing behind, before it begins and while it waits', async () => {
    const signal = AbortSignal.abort(reason)
    await expect(dial(`PTY,link=${link()}`, openContext({ signal }))).rejects.toMatchObject({
      code: 'revoked',
    })
    expect(isThere(link())).toBe(false)
    const calling = new AbortController()
    const dialling = dial(`PTY,link=${link()},wait-slave`, openContext({ signal: calling.signal }))
    const outcome = expect(dialling).rejects.toMatchObject({ code: 'revoked' })
    await until('the link is there', () => isThere(link()))
    const terminal = readlinkSync(link())
    calling.abort(reason)
    await outcome
    expect(isThere(link())).toBe(false)
    expect(existsSync(terminal)).toBe(false)
  })
})

describe('the link of a PTY', () => {
  test('leads to the terminal for as long as it is open', async () => {
    const near = await dial(`PTY,link=${link()}`)
    expect(near.peer.text).toBe(`${link()} (${readlinkSync(link())})`)
    expect(existsSync(link())).toBe(true)
    await near[Symbol.asyncDispose]()
    expect(isThere(link())).toBe(false)
  })

  test('stays with `unlink-close=0`, and gives way to the next', async () => {
    const first = await dial(`PTY,link=${link()},unlink-close=0`)
    await first[Symbol.asyncDispose]()
    expect(isThere(link())).toBe(true)
    await using _second = await dial(`PTY,link=${link()}`)
    expect(existsSync(link())).toBe(true)
  })

  test('is left alone by one whose link has been replaced', async () => {
    const first = await dial(`PTY,link=${link()}`)
    await using second = await dial(`PTY,link=${link()}`)
    await first[Symbol.asyncDispose]()
    expect(second.peer.text).toContain(readlinkSync(link()))
  })

  test('takes the place of no file, no directory, and of no other link unless told to', async () => {
    await writeFile(at('file'), 'precious')
    await mkdir(at('directory'))
    await symlink(at('file'), at('link'))
    for (const name of ['file', 'directory']) {
      for (const more of ['', ',unlink-early']) {
        const refusal = dial(`PTY,link=${at(name)}${more}`)
        await expect(refusal).rejects.toMatchObject({ code: 'conflict', fix: 'Choose another path' })
      }
    }
    await expect(dial(`PTY,link=${at('link')}`)).rejects.toMatchObject({
      code: 'conflict',
      why: `a link to ${at('file')} is at ${at('link')}`,
    })
    await using _replacing = await dial(`PTY,link=${at('link')},unlink-early`)
    expect(readlinkSync(at('link'))).toMatch(/^\/dev\/pts\//)
    expect(await readFile(at('file'), 'utf8')).toBe('precious')
  })

  test('needs a directory that is there', async () => {
    await expect(dial(`PTY,link=${at('none/modem')}`)).rejects.toMatchObject({
      code: 'not-found',
      why: `there is no directory ${at('none')}`,
    })
  })

  test('is refused where a forbidden path is reached through another directory', async () => {
    await mkdir(at('real'))
    await symlink(at('real'), at('alias'))
    const seen: string[] = []
    const egress = {
      check: () => {},
      checkForbidden(address: { text: string }) {
        seen.push(address.text)
        throw new RelayError('denied', { what: address.text, why: 'the test says so' })
      },
    }
    for (const open of [dial, listen]) {
      const opening = open(`PTY,link=${at('alias/modem')},mode=666`, openContext({ egress }))
      await expect(opening).rejects.toMatchObject({ code: 'denied' })
    }
    expect(seen).toEqual([0, 1].map(() => `PTY,link=${at('real/modem')},mode=666`))
    expect(isThere(at('real/modem'))).toBe(false)
  })
})

describe('whom a PTY belongs to', () => {
  test('its mode is what the address says', async () => {
    await using _near = await dial(`PTY,link=${link()},mode=640`)
    expect((await stat(link())).mode & 0o777).toBe(0o640)
  })

  needing('root')('its user and group are what the address says', async () => {
    await using _near = await dial(`PTY,link=${link()},user=nobody,group=daemon,perm=0600`)
    const { uid, gid, mode } = await stat(link())
    expect([uid, gid, mode & 0o777]).toEqual([65_534, 1, 0o600])
  })

  test('an unknown user is refused, and nothing is left behind', async () => {
    await expect(dial(`PTY,link=${link()},user=no-such-user`)).rejects.toMatchObject({ code: 'not-found' })
    expect(isThere(link())).toBe(false)
  })
})

describe('a PTY that waits for programs', () => {
  test('begins at once without `wait-slave`, and what is sent meanwhile is there for the program', async () => {
    await using listener = await listen(`PTY,rawer,link=${link()}`)
    const arrivals = listener[Symbol.asyncIterator]()
    await using near = (await arrivals.next()).value as Channel
    near.stream.write('early')
    await using far = await program(link(), '')
    expect((await gather(far.stream, 5)).toString()).toBe('early')
    expect((await arrivals.next()).done).toBe(true)
  })

  test('begins with `wait-slave` when a program has opened it, with the settings of the address', async () => {
    await using listener = await listen(`PTY,rawer,b9600,wait-slave,pty-interval=0.01,link=${link()}`)
    expect(listener.local).toBe(link())
    const arrival = listener[Symbol.asyncIterator]().next()
    let isBegun = false
    void arrival.then(() => {
      isBegun = true
    })
    const { stdout } = await run(['true'])
    expect([stdout, isBegun]).toEqual(['', false])
    await using far = await program(link(), '')
    await using near = (await arrival).value as Channel
    near.stream.write('\r\n\x03\x04')
    expect((await gather(far.stream, 4)).toString()).toBe('\r\n\x03\x04')
    expect((await run(['stty', '-F', link()])).stdout).toContain('speed 9600 baud')
  })

  test('notices a program that has written something and left at once', async () => {
    await using listener = await listen(`PTY,rawer,wait-slave,pty-interval=0.2,link=${link()}`)
    await writeFile(link(), 'in passing')
    await using near = (await listener[Symbol.asyncIterator]().next()).value as Channel
    expect((await receive(near.stream)).toString()).toBe('in passing')
  })

  test('has with `fork` a conversation for each program that opens the link', async () => {
    await using listener = await listen(`PTY,rawer,fork,pty-interval=0.01,link=${link()}`)
    const arrivals = listener[Symbol.asyncIterator]()
    const first = readlinkSync(link())
    await using one = await program(link())
    await using nearOne = (await arrivals.next()).value as Channel
    await until('the link leads to the next', () => readlinkSync(link()) !== first)
    await using two = await program(link())
    await using nearTwo = (await arrivals.next()).value as Channel
    nearOne.stream.write('to the first')
    nearTwo.stream.write('to the second')
    expect((await gather(one.stream, 12)).toString()).toBe('to the first')
    expect((await gather(two.stream, 13)).toString()).toBe('to the second')
    await listener[Symbol.asyncDispose]()
    expect(isThere(link())).toBe(false)
    expect((await arrivals.next()).done).toBe(true)
    two.stream.write('still here')
    expect((await gather(nearTwo.stream, 10)).toString()).toBe('still here')
  })

  test('hangs up on a program that is not admitted', async () => {
    await using listener = await listen(
      `PTY,rawer,wait-slave,pty-interval=0.01,link=${link()}`,
      openContext({ admit: () => false }),
    )
    await using far = await program(link())
    await ended(far.stream)
    expect(listener.local).toBe(link())
  })

  test('its link can be listened on again as soon as it is disposed', async () => {
    for (let round = 0; round < 3; round++) {
      await using listener = await listen(`PTY,wait-slave,link=${link()}`)
      expect(listener.local).toBe(link())
    }
    expect(isThere(link())).toBe(false)
  })

  test('tolerates with `sitout-eio` that the terminal is closed and opened again', async () => {
    await using near = await dial(`PTY,rawer,sitout-eio=10,link=${link()}`)
    {
      await using login = await program(link())
      login.stream.write('login')
      expect((await gather(near.stream, 5)).toString()).toBe('login')
    }
    await using shell = await program(link())
    shell.stream.write('shell')
    expect((await gather(near.stream, 5)).toString()).toBe('shell')
    near.stream.write('hello')
    expect((await gather(shell.stream, 5)).toString()).toBe('hello')
  })

  test('ends when nobody has opened it again by then', async () => {
    await using near = await dial(`PTY,rawer,sitout-eio=0.03,link=${link()}`)
    const far = await program(link())
    await far[Symbol.asyncDispose]()
    near.stream.write('held')
    expect((await receive(near.stream)).length).toBe(0)
  })
})

describe('a relay with a PTY', () => {
  test('is over, on both sides, when the program closes its terminal', async () => {
    await using server = await peer()
    await using relay = await openTestRelay({
      listen: `PTY,rawer,wait-slave,pty-interval=0.01,link=${link()}`,
      targets: [`TCP4:127.0.0.1:${server.port}`],
    })
    const far = await program(link())
    const atServer = await server.connected
    atServer.write('CONNECT 9600')
    expect((await gather(far.stream, 12)).toString()).toBe('CONNECT 9600')
    far.stream.write('bye')
    await until('it is written', () => far.stream.writableLength === 0)
    await far[Symbol.asyncDispose]()
    // The server goes on: it would never say goodbye by itself.
    expect((await receive(atServer)).toString()).toBe('bye')
    await until('the relay is done', () => relay.relay.state.name === 'done')
    expect(relay.closed[0]).toMatchObject({ cause: 'eof' })
    expect(isThere(link())).toBe(false)
  })

  test('serves again with `fork`', async () => {
    await using relay = await openTestRelay({
      listen: `PTY,rawer,fork,pty-interval=0.01,link=${link()}`,
      targets: ['ECHO'],
    })
    for (const word of ['one', 'two', 'three']) {
      const before = readlinkSync(link())
      await using far = await program(link())
      far.stream.write(word)
      expect((await gather(far.stream, word.length)).toString()).toBe(word)
      await until('the link leads to the next', () => readlinkSync(link()) !== before)
    }
    await until('all are over', () => relay.closed.length === 3)
    expect(relay.opened.map(({ source }) => source)[0]).toMatch(/modem \(\/dev\/pts\/\d+\)$/)
  })

  test('as a target is opened for a client, and its program is hung up on when the client leaves', async () => {
    await using relay = await openTestRelay({ targets: [`PTY,rawer,link=${link()}`] })
    const { connect } = await import('node:net')
    const client = connect(relay.port, '127.0.0.1')
    client.write('hello')
    await until('the link is there', () => existsSync(link()))
    await using far = await program(link(), '')
    expect((await gather(far.stream, 5)).toString()).toBe('hello')
    relay.relay.cut(relay.opened[0]!.id, reason)
    await ended(far.stream)
    await destroyed(client)
    await until('it is closed', () => relay.closed.length === 1)
    expect(isThere(link())).toBe(false)
  })

  needing('socat')('is a line that socat opens', async () => {
    await using _relay = await openTestRelay({
      listen: `PTY,raw,echo=0,wait-slave,pty-interval=0.01,link=${link()}`,
      targets: ['ECHO'],
    })
    const { stdout } = await run(['socat', '-t', '0.3', '-', `${link()},raw,echo=0`], { input: 'hello' })
    expect(stdout).toBe('hello')
  })

  needing('socat')('a PTY of socat is a line that a program opens alike', async () => {
    await using _socat = startProgram(['socat', `PTY,rawer,link=${link()}`, 'PIPE'])
    await until('socat has its terminal', () => isThere(link()))
    await using far = await program(link())
    far.stream.write('hello')
    expect((await gather(far.stream, 5)).toString()).toBe('hello')
  })

  needing('python3')('is a serial line to a program that sets it as one', async () => {
    await using _relay = await openTestRelay({
      listen: `PTY,wait-slave,pty-interval=0.01,link=${link()}`,
      targets: ['ECHO'],
    })
    const script = `
import os, sys, termios, tty
fd = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY)
tty.setraw(fd)
settings = termios.tcgetattr(fd)
settings[2] |= termios.CLOCAL | termios.CRTSCTS | termios.CSTOPB
settings[4] = settings[5] = termios.B115200
termios.tcsetattr(fd, termios.TCSANOW, settings)
print(termios.tcgetattr(fd)[4:6] == [termios.B115200] * 2)
termios.tcflush(fd, termios.TCIOFLUSH)
os.write(fd, b'AT\\r')
print(os.read(fd, 3))
`
    expect((await run(['python3', '-c', script, link()])).stdout).toBe("True\nb'AT\\r'\n")
  })
})

describe('what a PTY cannot have is refused', () => {
  test.each([
    ['PTY:/tmp/modem', 'usage', 'it has an argument'],
    ['PTY,fork', 'usage', 'which nobody could find'],
    ['PTY,fork,link=/tmp/m,wait-slave=0', 'usage', 'a conversation begins when a program opens'],
    ['@edge-1/PTY,link=modem', 'usage', 'no directory to start from'],
    ['PTY,link', 'usage', 'it needs a value'],
    ['PTY,umask=077', 'unsupported', 'option `umask` is not supported'],
    ['PTY,ptmx=0', 'usage', 'pseudo-terminals are always opened through /dev/ptmx'],
    ['PTY,lnik=/tmp/m', 'usage', 'option `lnik` is not one of PTY'],
  ] as const)('%s', (text, code, why) => {
    expect(() => bindAddress(text)).toThrow(
      expect.objectContaining({ code, why: expect.stringContaining(why) }),
    )
  })

  test('`fork` of a target, and settings that a terminal does not keep', async () => {
    await expect(dial(`PTY,link=${link()},fork`)).rejects.toMatchObject({ code: 'usage' })
    await expect(dial(`PTY,link=${link()},cs7`)).rejects.toMatchObject({ code: 'unsupported' })
    await expect(listen(`PTY,link=${link()},parenb`)).rejects.toMatchObject({ code: 'unsupported' })
    expect(isThere(link())).toBe(false)
  })
})

/** A server that takes one connection and never ends it. */
async function peer(): Promise<
  AsyncDisposable & { readonly port: number; readonly connected: Promise<Socket> }
> {
  const server = createServer({ allowHalfOpen: true })
  const sockets: Socket[] = []
  server.on('connection', socket => sockets.push(socket.on('error', () => {})))
  const connected = once(server, 'connection').then(([socket]) => socket as Socket)
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return {
    port: (server.address() as { port: number }).port,
    connected,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) await destroyed(socket)
      await new Promise(resolve => server.close(resolve))
    },
  }
}

import { execFileSync } from 'node:child_process'
import { chmod, mkdir, readdir, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Address } from '#relay/address.ts'
import type { Channel, Listener } from '#relay/endpoint.ts'
import { bindAddress, bindListen } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'
import { conformance, type Pair } from '#test/conformance/endpoint.ts'
import { openContext } from '#test/resources/contexts.ts'
import { openFolder } from '#test/resources/folder.ts'
import { needing } from '#test/resources/needs.ts'
import { run, startProgram } from '#test/resources/program.ts'
import { openTestRelay } from '#test/resources/relays.ts'
import { receive } from '#test/resources/streams.ts'
import { until } from '#test/resources/until.ts'

const listen = (text: string, cx = openContext()): Promise<Listener> => bindAddress(text).acceptor!.listen(cx)
const dial = (text: string, cx = openContext()): Promise<Channel> => bindAddress(text).dialer!.dial(cx)

async function unixPair(listening: string, dialling: string): Promise<Pair> {
  await using listener = await listen(listening)
  const near = await dial(dialling)
  const { value } = await listener[Symbol.asyncIterator]().next()
  const far = value as Channel
  return {
    near,
    far,
    async [Symbol.asyncDispose]() {
      await near[Symbol.asyncDispose]()
      await far[Symbol.asyncDispose]()
    },
  }
}

let names = 0
const freshName = () => `fleetcat-test-${process.pid}-${++names}`
const swapped = (pair: Pair): Pair => ({ ...pair, near: pair.far, far: pair.near })

let folder: AsyncDisposable & { readonly path: string }
beforeEach(async () => {
  folder = await openFolder()
})
afterEach(() => folder[Symbol.asyncDispose]())
/** A path in the folder of this test. */
const at = (name: string) => join(folder.path, name)

conformance('a dialled Unix socket', {
  resets: false,
  open: () => unixPair(`UNIX-LISTEN:${at('app.sock')}`, `UNIX-CONNECT:${at('app.sock')}`),
  listening: () => ({
    endpoint: bindAddress(`UNIX-LISTEN:${at('app.sock')},fork`),
    dialer: ({ local }) => bindAddress(`UNIX-CLIENT:${local}`),
  }),
  unreachable: () => ({ endpoint: bindAddress('UNIX-CONNECT:/nonexistent/app.sock'), code: 'not-found' }),
})

conformance('an accepted abstract socket', {
  resets: false,
  async open() {
    const name = freshName()
    return swapped(await unixPair(`ABSTRACT-LISTEN:${name}`, `ABSTRACT-CONNECT:${name}`))
  },
  listening: () => ({
    endpoint: bindAddress(`ABSTRACT-LISTEN:fleetcat-test-${process.pid},fork`),
    dialer: ({ local }) => bindAddress(`ABSTRACT:${local.slice(1)}`),
  }),
  unreachable: () => ({ endpoint: bindAddress('ABSTRACT-CONNECT:fleetcat-nobody'), code: 'refused' }),
})

/** The one arrival of a listener. */
async function served(listener: Listener): Promise<Channel> {
  return (await listener[Symbol.asyncIterator]().next()).value as Channel
}

const modeOf = async (path: string) => ((await stat(path)).mode & 0o7777).toString(8)

/** A socket that its owner left behind when it was killed. */
async function abandoned(path: string): Promise<void> {
  await using holder = startProgram(['socat', '-d', '-d', `UNIX-LISTEN:${path}`, '-'])
  await holder.says(/listening/)
  holder.kill('SIGKILL')
}

describe('the file of a socket', () => {
  test('goes when its listener does, and nothing else stays', async () => {
    const listener = await listen(`UNIX-LISTEN:${at('app.sock')},fork`)
    expect(await readdir(folder.path)).toEqual(['app.sock'])
    expect(listener.local).toBe(at('app.sock'))
    await listener[Symbol.asyncDispose]()
    expect(await readdir(folder.path)).toEqual([])
  })

  test('stays with `unlink-close=0`', async () => {
    await (await listen(`UNIX-LISTEN:${at('app.sock')},unlink-close=0`))[Symbol.asyncDispose]()
    expect(await readdir(folder.path)).toEqual(['app.sock'])
  })

  test('has the mode, the owner and the group that the address says, and by default those of any file', async () => {
    const cases = [
      ['', (0o777 & ~process.umask()).toString(8)],
      [',mode=600', '600'],
      [',perm=0666', '666'],
      [',umask=077', '700'],
      [',umask=077,mode=660', '660'],
    ] as const
    for (const [options, mode] of cases) {
      await using _listener = await listen(`UNIX-LISTEN:${at('app.sock')}${options}`)
      expect(await modeOf(at('app.sock')), options).toBe(mode)
    }
  })

  needing('root')('belongs to whom the address names', async () => {
    await using _listener = await listen(`UNIX-LISTEN:${at('app.sock')},user=nobody,group=12345,mode=660`)
    const { uid, gid } = await stat(at('app.sock'))
    expect(uid).toBe(Number(execFileSync('id', ['-u', 'nobody'])))
    expect(gid).toBe(12345)
  })

  test('is not made for a user that the host does not have', async () => {
    await expect(listen(`UNIX-LISTEN:${at('app.sock')},user=no-such-user`)).rejects.toMatchObject({
      code: 'not-found',
      why: '/etc/passwd has no user `no-such-user`',
    })
    expect(await readdir(folder.path)).toEqual([])
  })

  needing('root', 'python3')('can at no moment be used by another user', async () => {
    await chmod(folder.path, 0o755)
    const tries =
      'import os,socket,sys\nos.setuid(65534)\nprint("looking",flush=True)\nwhile True:\n for p in [sys.argv[1]+"/app.sock"]+[sys.argv[1]+"/"+d+"/s" for d in os.listdir(sys.argv[1])]:\n  try:\n   s=socket.socket(socket.AF_UNIX); s.connect(p); print("CONNECTED",flush=True)\n  except OSError: pass\n  s.close()'
    await using other = startProgram(['python3', '-c', tries, folder.path])
    await other.says(/looking/)
    const umask = process.umask(0)
    try {
      for (let round = 0; round < 300; round++) {
        await using _listener = await listen(`UNIX-LISTEN:${at('app.sock')},mode=600,fork`)
      }
    } finally {
      process.umask(umask)
    }
    expect(other.output()).toBe('looking\n')
  })

  test('of a listener that has taken its place is not removed by the earlier one', async () => {
    await using earlier = await listen(`UNIX-LISTEN:${at('app.sock')},fork`)
    await using later = await listen(`UNIX-LISTEN:${at('app.sock')},fork,unlink-early`)
    await earlier[Symbol.asyncDispose]()
    await using client = await dial(`UNIX-CONNECT:${at('app.sock')}`)
    client.stream.end('to the later one')
    await using taken = await served(later)
    expect(String(await receive(taken.stream))).toBe('to the later one')
  })

  needing('socat')('that is stale is named as such, and replaced with `unlink-early`', async () => {
    await abandoned(at('app.sock'))
    await expect(listen(`UNIX-LISTEN:${at('app.sock')}`)).rejects.toMatchObject({
      code: 'address-in-use',
      why: `an old socket is at ${at('app.sock')}, and nobody listens on it any more`,
      fix: 'Write `unlink-early` to replace it, or remove it',
    })
    await using _listener = await listen(`UNIX-LISTEN:${at('app.sock')},unlink-early`)
    await using client = await dial(`UNIX-CONNECT:${at('app.sock')}`)
    expect(client.peer.text).toBe(at('app.sock'))
  })

  test('in use is named as such', async () => {
    await using _listener = await listen(`UNIX-LISTEN:${at('app.sock')},fork`)
    await expect(listen(`UNIX-LISTEN:${at('app.sock')}`)).rejects.toMatchObject({
      code: 'address-in-use',
      why: `another program listens on ${at('app.sock')}`,
    })
  })

  needing('root', 'socat')('of another user is named as such', async () => {
    await abandoned(at('app.sock'))
    execFileSync('chown', ['nobody', at('app.sock')])
    const { uid } = await stat(at('app.sock'))
    await expect(listen(`UNIX-LISTEN:${at('app.sock')}`)).rejects.toMatchObject({
      why: `an old socket, of user ${uid}, is at ${at('app.sock')}, and nobody listens on it any more`,
    })
  })

  test('is never put where something else is, `unlink-early` or not', async () => {
    await writeFile(at('app.sock'), 'precious')
    await mkdir(at('folder'))
    for (const option of ['', ',unlink-early']) {
      await expect(listen(`UNIX-LISTEN:${at('app.sock')}${option}`)).rejects.toMatchObject({
        code: 'conflict',
        why: `something that is no socket is at ${at('app.sock')}`,
      })
      await expect(listen(`UNIX-LISTEN:${at('folder')}${option}`)).rejects.toMatchObject({
        why: `a directory is at ${at('folder')}`,
      })
    }
    expect((await readdir(folder.path)).sort()).toEqual(['app.sock', 'folder'])
  })

  test('needs a directory that is there, and a name that the kernel can keep', async () => {
    await expect(listen(`UNIX-LISTEN:${at('no/app.sock')}`)).rejects.toMatchObject({
      code: 'not-found',
      why: `there is no directory ${at('no')}`,
    })
    expect(() => bindAddress(`UNIX-LISTEN:/${'a'.repeat(107)}`)).toThrow(/107 bytes, and this has 108/)
    const deep = at('d'.repeat(104 - folder.path.length))
    await mkdir(deep)
    await expect(listen(`UNIX-LISTEN:${deep}/s`)).rejects.toMatchObject({ code: 'usage' })
  })
})

describe('a Unix target', () => {
  test('that is no socket, or that nobody serves, is refused with the reason', async () => {
    await writeFile(at('file'), '')
    await expect(dial(`UNIX-CONNECT:${at('file')}`)).rejects.toMatchObject({ code: 'refused' })
    await expect(dial(`UNIX-CONNECT:${at('none')}`)).rejects.toMatchObject({
      code: 'not-found',
      why: `there is no ${at('none')}`,
    })
  })

  needing('socat')('for datagrams is refused with the reason', async () => {
    await using receiver = startProgram(['socat', '-d', '-d', `UNIX-RECV:${at('datagrams')}`, '-'])
    await receiver.says(/starting data transfer/)
    await expect(dial(`UNIX-CONNECT:${at('datagrams')}`)).rejects.toMatchObject({
      code: 'unsupported',
      why: `${at('datagrams')} is a socket for datagrams, and Node opens Unix sockets for streams only`,
    })
  })

  needing('python3')('with a full backlog is waited for, as long as its connect-timeout', async () => {
    const program =
      'import socket,sys,time\ns=socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(0)\nprint("full",flush=True)\ntime.sleep(60)'
    await using server = startProgram(['python3', '-c', program, at('full')])
    await server.says(/full/)
    await using _first = await dial(`UNIX-CONNECT:${at('full')}`)
    await expect(dial(`UNIX-CONNECT:${at('full')},connect-timeout=100ms`)).rejects.toMatchObject({
      code: 'timed-out',
      why: 'what listens there has taken no connection within 100 ms',
    })
    const controller = new AbortController()
    const waiting = dial(`UNIX-CONNECT:${at('full')}`, openContext({ signal: controller.signal }))
    const reason = new RelayError('revoked', { what: 'it' })
    setImmediate(() => controller.abort(reason))
    await expect(waiting).rejects.toBe(reason)
  })

  test('is tried again until somebody listens', async () => {
    const dialling = dial(`UNIX-CONNECT:${at('late')},forever,interval=5ms`)
    await using _listener = await listen(`UNIX-LISTEN:${at('late')}`)
    await using channel = await dialling
    expect(channel.peer.text).toBe(at('late'))
  })

  test('behind a link is asked for by the name that it leads to', async () => {
    await mkdir(at('permitted'))
    await mkdir(at('secret'))
    await using listener = await listen(`UNIX-LISTEN:${at('secret/app.sock')},fork`)
    await symlink(listener.local, at('permitted/app.sock'))
    const checkLed = (_: Address, { args: [path = ''] }: Address) => {
      throw new RelayError('denied', { what: path })
    }
    await expect(
      dial(`UNIX-CONNECT:${at('permitted/app.sock')}`, openContext({ egress: { check() {}, checkLed } })),
    ).rejects.toMatchObject({ code: 'denied', what: at('secret/app.sock') })
  })
})

test('the scope is a whole path, and says what would let others in or take the place of others', () => {
  const scope = (text: string) => bindAddress(text).scope.text
  expect(scope('UNIX-LISTEN:/run/a/../app.sock,fork,mode=600,umask=077,max-children=3')).toBe(
    'UNIX-LISTEN:/run/app.sock',
  )
  expect(scope('UNIX-L:/run/app.sock,perm=0660,group=app,unlink-early')).toBe(
    'UNIX-LISTEN:/run/app.sock,unlink-early,group=app,mode=660',
  )
  expect(scope('UNIX-LISTEN:/run/app.sock,umask=0')).toBe('UNIX-LISTEN:/run/app.sock,mode=777')
  expect(scope('LOCAL:app.sock')).toBe(`UNIX-CONNECT:${process.cwd()}/app.sock`)
  expect(scope('UNIX:/run/a\\:b')).toBe('UNIX-CLIENT:"/run/a:b"')
  expect(scope('ABSTRACT:app')).toBe('ABSTRACT-CLIENT:app')
})

test.each([
  ['UNIX-LISTEN', /instead of 1.*Write `UNIX-LISTEN:<path>`/],
  ['UNIX-LISTEN:', /the name is missing. Write `UNIX-LISTEN:<path>`$/],
  ['UNIX-CONNECT:/a:b', /it has 2 arguments instead of 1.*colon/],
  ['UNIX-LISTEN:/a,mode=rw', /no octal file mode/],
  ['UNIX-LISTEN:/a,range=10.0.0.0/8', /`range` is not one of UNIX-LISTEN; TCP-LISTEN/],
  ['UNIX-CONNECT:/a,bind=/b', /without a name of its own/],
  ['ABSTRACT-LISTEN:a,mode=600', /`mode` is not one of ABSTRACT-LISTEN; UNIX-LISTEN/],
  ['@db-1/UNIX-CONNECT:app.sock', /Write the whole path/],
  ['UNIX-SENDTO:/dev/log', /for streams only, not for datagrams/],
  ['ABSTRACT-RECV:x', /for streams only, not for datagrams/],
])('%s is refused', (text, message) => {
  expect(() => bindAddress(text)).toThrow(message)
})

test('a target where a listener belongs is answered with the listener of its family', () => {
  expect(() => bindListen('UNIX-CONNECT:/run/app.sock')).toThrow(/e\.g\. `UNIX-LISTEN:<path>`/)
  expect(() => bindListen('ABSTRACT:app')).toThrow(/e\.g\. `ABSTRACT-LISTEN:<name>`/)
})

describe('with socat', () => {
  needing(
    'root',
    'socat',
    'setpriv',
  )('a client is shown with its user and its process', async () => {
    await chmod(folder.path, 0o711)
    await using listener = await listen(`UNIX-LISTEN:${at('app.sock')},mode=666`)
    const command = [
      'setpriv',
      '--reuid=65534',
      '--clear-groups',
      'socat',
      '-',
      `UNIX-CONNECT:${at('app.sock')}`,
    ]
    await using client = startProgram(command, { input: 'hello' })
    await using channel = await served(listener)
    expect(channel.peer).toMatchObject({ text: `${at('app.sock')}#1 (uid 65534, pid ${client.pid})` })
  })

  needing('socat')('at either end, by path and by abstract name, words arrive', async () => {
    const name = freshName()
    const ways = [
      [`UNIX-LISTEN:${at('a')}`, `UNIX-CONNECT:${at('a')}`],
      [`ABSTRACT-LISTEN:${name}`, `ABSTRACT-CONNECT:${name}`],
    ] as const
    for (const [listening, dialling] of ways) {
      await using relay = await openTestRelay({ listen: `${listening},fork`, targets: ['MEMORY:echo'] })
      await using echo = await openTestRelay({ listen: 'MEMORY-LISTEN:echo,fork', targets: ['MEMORY:end'] })
      await using end = await listen('MEMORY-LISTEN:end,fork')
      const client = run(['socat', '-', dialling], { input: 'hello' })
      await using channel = await served(end)
      expect(String(await receive(channel.stream))).toBe('hello')
      channel.stream.end('and hello to you')
      expect(await client).toEqual({ code: 0, stdout: 'and hello to you', stderr: '' })
      expect(relay.opened[0]?.source).toMatch(/#1 \(uid \d+, pid \d+\)$/)
      expect(echo.opened).toHaveLength(1)
    }
    for (const [listening, dialling] of ways) {
      await using server = startProgram(['socat', '-d', '-d', listening, 'EXEC:rev'])
      await server.says(/listening/)
      await using relay = await openTestRelay({ targets: [dialling] })
      const { stdout } = await run(['socat', '-', `TCP4:127.0.0.1:${relay.port}`], { input: 'stressed\n' })
      expect(stdout).toBe('desserts\n')
    }
  })

  needing('socat')('`max-children` lets the next one wait, and without `fork` there is one', async () => {
    await using end = await listen('MEMORY-LISTEN:end,fork')
    await using relay = await openTestRelay({
      listen: `UNIX-LISTEN:${at('a')},fork,max-children=1`,
      targets: ['MEMORY:end'],
    })
    await using first = startProgram(['socat', '-u', `UNIX-CONNECT:${at('a')}`, '-'])
    const channels = end[Symbol.asyncIterator]()
    await using one = (await channels.next()).value as Channel
    await using second = startProgram(['socat', '-u', `UNIX-CONNECT:${at('a')}`, '-'])
    one.stream.end('first')
    expect((await first.ended).stdout).toBe('first')
    await using two = (await channels.next()).value as Channel
    two.stream.end('second')
    expect((await second.ended).stdout).toBe('second')
    await until('both are gone', () => relay.closed.length === 2)

    await using once = await openTestRelay({ listen: `UNIX-LISTEN:${at('b')}`, targets: ['MEMORY:end'] })
    await using third = startProgram(['socat', '-u', `UNIX-CONNECT:${at('b')}`, '-'])
    await using three = (await channels.next()).value as Channel
    expect(await readdir(folder.path)).toEqual(['a'])
    three.stream.end('third')
    expect((await third.ended).stdout).toBe('third')
    await until('it is done', () => once.states.includes('done'))
  })
})

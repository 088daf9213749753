import { randomBytes } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { bindAddress, bindListen, bindTarget } from '#relay/endpoints/index.ts'
import { openContext } from '#test/resources/contexts.ts'
import { openFolder } from '#test/resources/folder.ts'
import { needing } from '#test/resources/needs.ts'
import { run } from '#test/resources/program.ts'
import { converse } from '#test/resources/programs.ts'
import { openTestRelay } from '#test/resources/relays.ts'
import { openClient } from '#test/resources/servers.ts'
import { receive } from '#test/resources/streams.ts'
import { until } from '#test/resources/until.ts'

const dial = (address: string) => bindAddress(address).dialer!.dial(openContext())

describe('the words of a program', () => {
  const words = [
    'a b  c',
    "'a b' c",
    '\\"a b\\" c',
    '"a b" c',
    '(a b) [c d] {e f}',
    'a\\\\ b',
    'a\\nb',
    '\\$HOME $HOME `id` ; | & > *',
    "it\\\\\\'s",
    'a ',
  ]
  for (const [shown, options] of [
    ['', ''],
    [', as a login shell', ',login'],
  ]) {
    needing('socat')(`are those that socat makes of them${shown}`, async () => {
      for (const each of words) {
        const address = `EXEC:/bin/sh -c \\"cat /proc/\\$\\$/cmdline\\" ${each}${options}`
        const { stdout } = await run(['socat', '-', address])
        expect((await converse(address)).output, each).toBe(stdout)
        expect(stdout).toContain('cmdline\0')
      }
    })
  }

  test('begin with its name as it was written, wherever it is', async () => {
    const show = 'process.stdout.write\\(process.argv0\\)'
    expect((await converse(`EXEC:${process.execPath} -e ${show}`)).output).toBe(process.execPath)
    const named = `EXEC:node -e ${show},path=${dirname(process.execPath)}`
    expect((await converse(named)).output).toBe('node')
    expect((await converse(`${named},login`)).output).toBe('-node')
  })

  test.each([
    ['EXEC', 'it has 0 arguments instead of 1'],
    ['EXEC: cat', 'it names no program'],
    ['EXEC:ssh -W a:22', 'it has 2 arguments instead of 1'],
    ['EXEC:cat \\"a', '`"` is never closed'],
    ['SYSTEM', 'it has 0 arguments instead of 1'],
    ['EXEC:cat,nofork', 'other relays to serve'],
    ['EXEC:cat,chroot=/srv', 'container'],
    ['EXEC:cat,pty,pipes', 'contradict each other'],
    ['EXEC:cat,ctty', 'only a terminal can control'],
    ['EXEC:cat,raw', '`raw` is for terminals'],
    ['SYSTEM:cat,shell=/bin/bash', 'does not choose its shell'],
    ['EXEC:cat,env=LD_PRELOAD=/tmp/x.so', 'given up the rights'],
    ['EXEC:cat,env=A-B=1', 'no name of a variable'],
    ['EXEC:cat,limit-as=lots', 'no number of bytes'],
  ])('%s is refused: %s', (address, why) => {
    expect(() => bindAddress(address)).toThrow(why)
  })
})

describe('a program that cannot be started', () => {
  test.each([
    ['EXEC:/nonexistent', 'not-found', 'there is no file /nonexistent'],
    ['EXEC:./nonexistent', 'not-found', 'Did you mean an absolute path?'],
    ['EXEC:no-such-program', 'not-found', 'there is no program `no-such-program` in /usr'],
    ['EXEC:/etc/passwd', 'denied', 'not executable'],
    ['EXEC:/etc', 'usage', '/etc is a directory'],
    ['EXEC:cat,chdir=/nonexistent', 'not-found', 'no directory /nonexistent to start it in'],
    ['EXEC:cat,user=no-such-user', 'not-found', '/etc/passwd has no user'],
    ['EXEC:cat,sighup', 'unsupported', 'an agent takes SIGHUP for itself'],
    ['EXEC:cat,end-close', 'unsupported', 'could not be revoked'],
  ])('%s says why: %s, %s', async (address, code, message) => {
    const error = await dial(address).catch((thrown: Error) => thrown)
    expect(error).toMatchObject({ code, message: expect.stringContaining(message) })
  })
})

describe('what a program is told and says', () => {
  test('its output arrives whole, however long it is, though it ends at once', async () => {
    const { output } = await converse('EXEC:head -c 20000000 /dev/zero')
    expect(output.length).toBe(20_000_000)
  })

  test('what it does not read costs nothing that it says', async () => {
    const input = randomBytes(4_000_000)
    const said = await converse('EXEC:head -c 5', { input })
    expect(said.output).toBe(input.subarray(0, 5).toString())
    expect(said.verdict).toBe(undefined)
    expect((await converse('SYSTEM:echo said; exit 0', { input })).output).toBe('said\n')
    expect((await converse('SYSTEM:echo said,pipes', { input })).output).toBe('said\n')
  })

  test('its standard error is told by lines, and bounded', async () => {
    const { output, errors } = await converse('SYSTEM:echo one >&2; echo out; printf two >&2')
    expect({ output, errors }).toEqual({ output: 'out\n', errors: ['one', 'two'] })
    const long = await converse('SYSTEM:seq 5000 >&2; head -c 9000 /dev/zero >&2')
    expect(long.errors.length).toBe(1_000)
    expect(long.errors.at(-1)).toContain('what follows is dropped')
  })

  test('`stderr` joins it to the output', async () => {
    const { output, errors } = await converse('SYSTEM:echo one >&2; echo two,stderr')
    expect({ output, errors }).toEqual({ output: 'one\ntwo\n', errors: [] })
  })

  test('other descriptors carry its input and output', async () => {
    const { output } = await converse('SYSTEM:cat <&3 >&4; echo lost,fdin=3,fdout=4', { input: 'kept' })
    expect(output).toBe('kept')
    expect((await converse('SYSTEM:readlink /proc/self/fd/0 /proc/self/fd/1')).output).toMatch(
      /^socket:\[(\d+)\]\nsocket:\[\1\]\n$/,
    )
    expect((await converse('SYSTEM:readlink /proc/self/fd/0 /proc/self/fd/1,pipes')).output).toMatch(
      /^pipe:\[\d+\]\npipe:\[\d+\]\n$/,
    )
  })

  test('nothing else of ours is open in it', async () => {
    expect((await converse('EXEC:ls /proc/self/fd')).output.split('\n')).toEqual(['0', '1', '2', '3', ''])
  })

  test.each([
    ['SYSTEM:exit 3', 'SYSTEM:exit 3: it exited with status 3'],
    ['SYSTEM:kill -SEGV $$', 'SYSTEM:kill -SEGV $$: it was ended by SIGSEGV'],
    ['SYSTEM:exit 0', undefined],
  ])('%s ends with: %s', async (address, verdict) => {
    expect((await converse(address)).verdict).toBe(verdict)
  })
})

describe('its surroundings', () => {
  test('it starts where it is told to, with the permissions and limits that it is given', async () => {
    await using folder = await openFolder()
    const show = 'pwd; umask; ulimit -n; ulimit -v; ulimit -t'
    const options = `chdir=${folder.path},umask=27,limit-nofile=50,limit-as=512M,limit-cpu=7`
    expect((await converse(`SYSTEM:${show},${options}`)).output).toBe(`${folder.path}\n0027\n50\n524288\n7\n`)
    expect((await converse('SYSTEM:pwd')).output).toBe('/\n')
  })

  test('SHELL takes the shell that it is told', async () => {
    expect((await converse('SHELL:echo $0,shell=/bin/sh')).output).toBe('sh\n')
    expect((await converse('SHELL:echo $0,shell=/bin/sh,login')).output).toBe('-sh\n')
  })

  test('with rights of ours it has our environment and our directory', async () => {
    process.env.FLEETCAT_TEST_CANARY = 'sings'
    const own = await converse('SYSTEM:pwd; echo $FLEETCAT_TEST_CANARY; cat /proc/$$/stat', { rights: 'own' })
    const confined = await converse('SYSTEM:cat /proc/$$/stat')
    delete process.env.FLEETCAT_TEST_CANARY
    const [directory, canary, stat = ''] = own.output.split('\n')
    expect([directory, canary]).toEqual([process.cwd(), 'sings'])
    const session = (text: string) => Number(text.split(' ')[5])
    expect(session(stat)).not.toBe(Number(stat.split(' ')[0]))
    expect(session(confined.output)).toBe(Number(confined.output.split(' ')[0]))
  })
})

describe('a terminal', () => {
  test('is what the program reads from and writes to', async () => {
    const { output } = await converse('SYSTEM:tty; test -t 2 && echo errors too; stty size,pty,raw,echo=0')
    expect(output).toMatch(/^\/dev\/pts\/\d+\nerrors too\n0 0\n$/)
  })

  test('controls it where that is asked for', async () => {
    expect((await converse('SYSTEM:echo there >/dev/tty,pty,raw,ctty')).output).toBe('there\n')
    expect((await converse('SYSTEM:echo there >/dev/tty || echo none,pty,raw,stderr=0')).output).toContain(
      'none',
    )
  })

  test('takes an interrupt to the program', async () => {
    await using channel = await dial(
      'SYSTEM:trap \\"echo caught; exit\\" INT; echo ready; while \\:; do sleep 0.1; done,pty,ctty',
    )
    let said = ''
    channel.stream.on('data', chunk => {
      said += chunk
    })
    await until('it is ready', () => said.includes('ready'))
    channel.stream.write('\x03')
    await until('it has been interrupted', () => said.includes('caught'))
  })
})

describe('in a relay', () => {
  test('each connection has a program of its own, and its failure is that of the connection', async () => {
    await using relay = await openTestRelay({ targets: ['SYSTEM:cat; exit 3'] })
    await using client = await openClient(relay.port)
    client.end('hello')
    expect((await receive(client)).toString()).toBe('hello')
    await until('it is over', () => relay.closed.length === 1)
    expect(relay.closed[0]).toMatchObject({
      cause: 'failed',
      error: { message: 'SYSTEM:cat; exit 3: it exited with status 3' },
    })
    await using other = await openClient(relay.port)
    other.end('again')
    expect((await receive(other)).toString()).toBe('again')
  })

  test('a program may be the first address: it is started once', async () => {
    await using folder = await openFolder()
    const file = join(folder.path, 'out')
    await using relay = await openTestRelay({
      listen: bindListen('SYSTEM:echo from the first'),
      targets: [`SYSTEM:cat >${file}; echo done`],
    })
    await until('it is done', () => relay.states.includes('done'))
    expect((await run(['cat', file])).stdout).toBe('from the first\n')
    expect(relay.closed).toMatchObject([{ cause: 'eof' }])
  })

  test('a half of a dual address is told nothing, or is not heard', async () => {
    await using folder = await openFolder()
    const file = join(folder.path, 'kept')
    const target = bindTarget(`SYSTEM:cat; echo said!!SYSTEM:cat >${file}; echo lost; exit 4`)
    await using relay = await openTestRelay({ targets: [target] })
    await using client = await openClient(relay.port)
    client.end('kept')
    expect((await receive(client)).toString()).toBe('said\n')
    await until('it is over', () => relay.closed.length === 1)
    expect((await run(['cat', file])).stdout).toBe('kept')
    expect(relay.closed[0]?.error?.message).toContain('exited with status 4')
  })

  test('a hundred of them leave no descriptor and no process behind', async () => {
    const open = () => readdirSync('/proc/self/fd').length
    const children = () => run(['ps', '--no-headers', '--ppid', String(process.pid)])
    await converse('EXEC:true')
    const [descriptors, { stdout }] = [open(), await children()]
    for (let round = 0; round < 10; round++) {
      await Promise.all(Array.from({ length: 10 }, () => converse('EXEC:cat', { input: 'x' })))
    }
    expect(open()).toBe(descriptors)
    expect((await children()).stdout.split('\n').length).toBe(stdout.split('\n').length)
  })
})

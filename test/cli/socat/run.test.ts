import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { needing } from '#test/resources/needs.ts'
import { launcher, run, startProgram } from '#test/resources/program.ts'
import { openScratch } from '#test/resources/scratch.ts'
import { openFakePort } from '#test/resources/serial/cables.ts'
import { until } from '#test/resources/until.ts'

const fleetcat = (...words: string[]) => [launcher, 'socat', ...words]

/** `2026/11/20 13:00:00 socat[1234] ` before each message. */
const head = /^\d{4}\/\d\d\/\d\d \d\d:\d\d:\d\d socat\[\d+\] /

const listening = /listening on AF=2 127\.0\.0\.1:(\d+)/

describe('fleetcat socat', () => {
  test('joins two addresses until both have ended', async () => {
    const { code, stdout, stderr } = await run(fleetcat('-', 'ECHO'), { input: 'there and back' })
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: 'there and back', stderr: '' })
  })

  test('says what it does at the levels of socat', async () => {
    await using relay = startProgram(fleetcat('-d', '-d', 'TCP4-LISTEN:0,bind=127.0.0.1', 'ECHO'))
    const [, port] = await relay.says(listening)
    await run(fleetcat('-u', 'TIME', `TCP4:127.0.0.1:${port}`))
    const { code, stderr } = await relay.ended
    const lines = stderr.trimEnd().split('\n')
    expect(lines.every(line => head.test(line))).toBe(true)
    expect(lines.map(line => line.replace(head, '').replace(/127.0.0.1:\d+/g, 'HOST:PORT'))).toEqual([
      'N listening on AF=2 HOST:PORT',
      'N accepting connection from AF=2 HOST:PORT on AF=2 HOST:PORT',
      'N starting data transfer loop',
      'N exiting with status 0',
    ])
    expect(code).toBe(0)
  })

  test('says what raises an alert', async () => {
    await using port = await openFakePort()
    await using relay = startProgram(fleetcat('-d', '-d', `SERIAL:${port.path},alert=panic`, 'DISCARD'))
    await relay.says(/starting data transfer loop/)
    port.far.write('kernel panic\n')
    await relay.says(/W SERIAL:\S+: kernel panic/)
  })

  test('waits for a connection to its second address too', async () => {
    await using relay = startProgram(fleetcat('-d', '-d', 'STATUS', 'TCP4-LISTEN:0,bind=127.0.0.1'))
    const [, port] = await relay.says(listening)
    const { stdout } = await run(fleetcat(`TCP4:127.0.0.1:${port}`, '-'))
    expect(stdout).toMatch(/^host: /)
    expect((await relay.ended).code).toBe(0)
  })

  test('serves many with fork, at the first address or at the second', async () => {
    const listen = 'TCP4-LISTEN:0,bind=127.0.0.1,fork'
    for (const addresses of [
      [listen, 'ECHO'],
      ['ECHO', listen],
    ]) {
      await using relay = startProgram(fleetcat('-d', '-d', ...addresses))
      const [, port] = await relay.says(listening)
      for (const input of ['one', 'two']) {
        const { stdout } = await run(fleetcat('-', `TCP4:127.0.0.1:${port}`), { input })
        expect(stdout).toBe(input)
      }
    }
  })

  test.each([
    [['-'], 'E exactly 2 addresses required (there are 1); use option "-h" for help'],
    [['-z', '-', '-'], 'E unknown option "-z"; use option "-h" for help'],
    [['FOO:bar', '-'], 'there is no kind of address called `FOO`'],
    [['TCP4:127.0.0.1:1', '-'], 'E TCP4:127.0.0.1:1: Connection refused'],
    [['UNIX:/nonexistent', '-'], 'E UNIX-CLIENT:/nonexistent: No such file or directory'],
  ])('%j ends with 1 and says why', async (words, why) => {
    const { code, stderr } = await run(fleetcat(...words))
    expect(stderr).toContain(why)
    expect(code).toBe(1)
  })

  test.each([
    ['SIGTERM', 143, 'W exiting on signal 15'],
    ['SIGINT', 130, 'N exiting on signal 2'],
    ['SIGHUP', 129, 'N exiting on signal 1'],
  ] as const)('%s ends it with %i', async (signal, exit, message) => {
    await using relay = startProgram(fleetcat('-d', '-d', 'TCP4-LISTEN:0,bind=127.0.0.1,fork', 'ECHO'))
    await relay.says(listening)
    relay.kill(signal)
    const { code, stderr } = await relay.ended
    expect(code).toBe(exit)
    expect(stderr).toContain(message)
  })

  test('ends silence when it is told to, and waits no longer than told for the other side', async () => {
    const silent = await run(fleetcat('-d', '-d', '-T', '0.2', 'ECHO', 'ECHO'))
    expect(silent.stderr).toContain('N inactivity timeout triggered')
    expect(silent.code).toBe(0)
    await using relay = startProgram(fleetcat('-d', '-d', '-t0.1', 'TIME', 'TCP4-LISTEN:0,bind=127.0.0.1'))
    const [, port] = await relay.says(listening)
    await using client = startProgram(fleetcat('-t', '60', `TCP4:127.0.0.1:${port}`, 'ECHO,ignoreeof'))
    expect((await relay.ended).code).toBe(0)
    client.kill('SIGTERM')
  })

  test('goes one way only', async () => {
    const { code, stdout } = await run(fleetcat('-U', '-', 'STATUS'), { input: 'not read' })
    expect(stdout).toMatch(/^host: /)
    expect(code).toBe(0)
  })

  test('logs to a file, with a name, a host and microseconds', async () => {
    await using scratch = await openScratch()
    const log = join(scratch.path, 'log')
    const words = ['-d2', '-lf', log, '-lp', 'web', '-lu', '-lh', 'ECHO', 'TIME']
    await run(fleetcat(...words), { env: { HOSTNAME: 'edge-1' } })
    expect(await readFile(log, 'utf8')).toMatch(
      /^[\d/]{10} [\d:]{8}\.\d{6} edge-1 web\[\d+\] N starting data transfer loop\n/,
    )
  })

  test('holds a lock file while it runs, and does without one that another holds', async () => {
    await using scratch = await openScratch()
    const lock = join(scratch.path, 'lock')
    await using holder = startProgram(
      fleetcat('-d', '-d', '-L', lock, 'TCP4-LISTEN:0,bind=127.0.0.1', 'ECHO'),
    )
    await holder.says(listening)
    const other = await run(fleetcat('-L', lock, 'ECHO', 'TIME'))
    expect(other.code).toBe(1)
    expect(other.stderr).toContain(`E could not obtain lock "${lock}"`)
    await using patient = startProgram(fleetcat('-W', lock, '-', 'TIME'))
    holder.kill('SIGTERM')
    expect((await patient.ended).code).toBe(0)
    await expect(readFile(lock)).rejects.toThrow('ENOENT')
  })

  test('-s goes on without options that cannot be had here, but not without those that guard', async () => {
    const address = 'TCP4-LISTEN:0,bind=127.0.0.1,ioctl-void=1,nodelay'
    const strict = await run(fleetcat(address, 'TIME'))
    expect(strict.code).toBe(1)
    await using sloppy = startProgram(fleetcat('-d', '-d', '-s', address, 'TIME'))
    await sloppy.says(/W option `ioctl-void` of TCP4-LISTEN is left out/)
    await sloppy.says(listening)
    const guarded = await run(fleetcat('-s', 'TCP4-LISTEN:0,bind=127.0.0.1,tcpwrap=x', 'TIME'))
    expect(guarded.code).toBe(1)
  })

  test('a handshake that fails is the end of a listener that serves one', async () => {
    await using pki = await openScratch()
    const pem = join(pki.path, 'server.pem')
    const subject = ['-subj', '/CN=localhost', '-keyout', pem, '-out', join(pki.path, 'cert.pem')]
    await run([
      'openssl',
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      ...subject,
    ])
    const tls = `OPENSSL-LISTEN:0,bind=127.0.0.1,cert=${join(pki.path, 'cert.pem')},key=${pem},verify=0`
    for (const addresses of [
      [tls, 'ECHO'],
      ['ECHO', tls],
    ]) {
      await using relay = startProgram(fleetcat('-d', '-d', ...addresses))
      const [, port] = await relay.says(listening)
      await run(fleetcat('-u', 'STATUS', `TCP4:127.0.0.1:${port}`))
      expect((await relay.ended).code).toBe(1)
    }
  })

  test('programs see their variables under the name that -lp gives', async () => {
    const program = 'SYSTEM:echo $WEB_VERSION $SOCAT_VERSION'
    const { stdout } = await run(fleetcat('-lpweb', '-u', program, '-'))
    expect(stdout).toBe('1.7.4.4\n')
  })

  test('a program that is only read keeps our input, and one that is only written our output', async () => {
    const { stdout } = await run(fleetcat('SYSTEM:cat!!SYSTEM:cat', 'ECHO'), { input: 'all the way' })
    expect(stdout).toBe('all the way')
  })

  test('comes from the port that bind= says', async () => {
    await using relay = startProgram(fleetcat('-d', '-d', 'TCP4-LISTEN:0,bind=127.0.0.1', 'ECHO'))
    const [, port] = await relay.says(listening)
    await run(fleetcat('-u', 'TIME', `TCP4:127.0.0.1:${port},bind=127.9.9.9:4712`))
    await relay.says(/accepting connection from AF=2 127\.9\.9\.9:4712 /)
  })

  test('a connecting address with fork serves connection after connection', async () => {
    await using server = startProgram(fleetcat('-d', '-d', 'TCP4-LISTEN:0,bind=127.0.0.1,fork', 'STATUS'))
    const [, port] = await server.says(listening)
    const address = `TCP4:127.0.0.1:${port},fork,interval=0.05`
    await using client = startProgram(fleetcat('-u', address, 'STDOUT'))
    await client.says(/host: [\s\S]*host: [\s\S]*host: /)
    client.kill('SIGTERM')
    expect((await client.ended).code).toBe(143)
  })

  test('talks to itself where its own port is the one that is asked for', async () => {
    const { stdout } = await run(fleetcat('-', 'UDP4:127.7.7.7:4711,bind=127.7.7.7,sp=4711'), { input: 'me' })
    expect(stdout).toBe('me')
  })

  test('the environment says which IP version listens where the address does not', async () => {
    const env = { SOCAT_DEFAULT_LISTEN_IP: '6' }
    await using relay = startProgram(fleetcat('-d', '-d', 'TCP-LISTEN:0', 'ECHO'), { env })
    await relay.says(/listening on AF=10 \[::\]:\d+/)
  })

  test('-6 listens on IPv6 where the address does not say', async () => {
    await using relay = startProgram(fleetcat('-d', '-d', '-6', 'TCP-LISTEN:0', 'ECHO'))
    await relay.says(/listening on AF=10 \[::\]:\d+/)
  })

  test('-v and -x show the traffic on stderr, and -r and -R write it down as it is', async () => {
    await using scratch = await openScratch()
    const [left, right] = ['left', 'right'].map(name => join(scratch.path, name)) as [string, string]
    const { stderr } = await run(fleetcat('-x', '-r', left, '-R', right, '-', 'ECHO'), { input: 'hi\n' })
    expect(stderr).toMatch(
      /^> [\d/]+ [\d:.]+ {2}length=3 from=0 to=2\n 68 69 0a\n< [\d/]+ [\d:.]+ {2}length=3 from=0 to=2\n 68 69 0a\n$/,
    )
    expect(await readFile(left, 'utf8')).toBe('hi\n')
    expect(await readFile(right, 'utf8')).toBe('hi\n')
    const text = await run(fleetcat('-u', '-v', '-', 'DISCARD'), { input: 'hi\n' })
    expect(text.stderr).toMatch(/^> .*\nhi\n$/)
  })

  test('starts programs as its user would: with its environment, in its directory, with its stderr', async () => {
    await using scratch = await openScratch()
    const program = 'SYSTEM:echo $MINE; pwd; echo complaint >&2; echo $SOCAT_SOCKADDR'
    const { stdout, stderr, code } = await run(fleetcat('-u', program, '-'), {
      env: { MINE: 'all mine' },
      cwd: scratch.path,
    })
    expect(stdout).toBe(`all mine\n${scratch.path}\n\n`)
    expect(stderr).toBe('complaint\n')
    expect(code).toBe(0)
  })

  test.each([
    [['-', 'SYSTEM:exit 3']],
    [['-', 'SYSTEM:exit 3,shut-none']],
    [['SYSTEM:exit 3', '-']],
    [['-t0.1', 'TCP4-LISTEN:0,bind=127.0.0.1', 'SYSTEM:exit 3']],
  ])('%j ends with 1, for its program has not ended with 0', async words => {
    await using relay = startProgram(fleetcat('-d', '-d', ...words))
    if (words.length > 2) {
      const [, port] = await relay.says(listening)
      await using client = startProgram(fleetcat('-t', '60', `TCP4:127.0.0.1:${port}`, 'ECHO,ignoreeof'))
      await relay.ended
      client.kill('SIGTERM')
    }
    const { code, stderr } = await relay.ended
    expect(stderr).toMatch(/E .*exited with status 3/)
    expect(code).toBe(1)
  })

  test('all who come to a second address with fork share the first', async () => {
    await using scratch = await openScratch()
    const log = join(scratch.path, 'log')
    const listen = 'TCP4-LISTEN:0,bind=127.0.0.1,fork,max-children=1'
    await using relay = startProgram(fleetcat('-d', '-d', '-U', `OPEN:${log},creat,trunc`, listen))
    const [, port] = await relay.says(listening)
    for (const input of ['one\n', 'two\n'])
      await run(fleetcat('-u', '-', `TCP4:127.0.0.1:${port}`), { input })
    await until('both have been written', async () => (await readFile(log, 'utf8')) === 'one\ntwo\n')
  })

  test('-b carries streams in pieces', async () => {
    const { stdout, stderr } = await run(fleetcat('-b', '4', '-x', '-u', '-', 'STDOUT'), {
      input: '0123456789',
    })
    expect(stdout).toBe('0123456789')
    expect([...stderr.matchAll(/length=(\d+)/g)].map(([, length]) => length)).toEqual(['4', '4', '2'])
  })

  test('a reader that goes is a failure, and none with cool-write', async () => {
    const codeOf = async (address: string) => {
      const command = fleetcat('-u', 'ZERO', address).join(' ')
      const { stdout } = await run([
        'bash',
        '-c',
        `set -o pipefail; ${command} | head -c 1 >/dev/null; echo $?`,
      ])
      return stdout
    }
    expect(await codeOf('STDOUT')).toBe('1\n')
    expect(await codeOf('STDOUT,cool-write')).toBe('0\n')
  })

  test('nofork changes nothing that passes', async () => {
    const { stdout } = await run(fleetcat('-d', '-', 'EXEC:cat,nofork'), { input: 'here' })
    expect(stdout).toBe('here')
  })

  test('a descriptor of a program is not named in vain', async () => {
    const { code, stderr } = await run(fleetcat('-u', '/dev/null', 'EXEC:cat,fdout=1'))
    expect(stderr).toContain('the program is only written to here')
    expect(code).toBe(1)
  })

  test('-D lists the descriptors', async () => {
    const { stderr } = await run(fleetcat('-D', 'ECHO', 'TIME'))
    expect(stderr).toMatch(/FD {2}what\n +0: /)
  })
})

describe('the answers to questions', () => {
  test('-V lists the features as C has them', async () => {
    const { code, stdout } = await run(fleetcat('-V'))
    expect(code).toBe(0)
    expect(stdout.split('\n')[1]).toMatch(/socat version 1\.7\.4\.4$/)
    expect(stdout).toMatch(/^ {2}#define WITH_TCP 1$/m)
    expect(stdout).toMatch(/^ {2}#undef WITH_FIPS$/m)
  })

  needing('socat')('-h and -hhh name addresses and options where socat does', async () => {
    const lineOf = (text: string, name: string) => text.split('\n').find(line => line.includes(name))
    const names = (text: string) =>
      [...text.matchAll(/^ {6}([a-z0-9-]+)\S*\tgroups=/gm)].map(([, name]) => name)
    const ours = (await run(fleetcat('-hhh'))).stdout
    const theirs = (await run(['socat', '-hhh'])).stdout
    const common = names(theirs).filter(name =>
      /^(tcp|udp|unix|openssl|abstract)[46]?-(connect|listen)/.test(name!),
    )
    expect(common.length).toBeGreaterThan(8)
    expect(names(ours)).toEqual(expect.arrayContaining(common))
    expect(lineOf(ours, 'tcp4-listen:<port>')).toMatch(/groups=.*LISTEN/)
    expect(lineOf(ours, 'so-keepalive ')).toBe('      so-keepalive is an alias for keepalive')
    expect(names((await run(fleetcat('-h'))).stdout)).not.toContain('keepalive')
  })
})

test('a log file that cannot be made is a reason not to start', async () => {
  await using scratch = await openScratch()
  await writeFile(join(scratch.path, 'file'), '')
  const { code, stderr } = await run(fleetcat('-lf', join(scratch.path, 'file/log'), '-', 'ECHO'))
  expect(code).toBe(1)
  expect(stderr).toContain('log file')
})

import { mkdir, realpath, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { openCeiling } from '#agent/ceiling.ts'
import type { Endpoint } from '#relay/endpoint.ts'
import { bindListen, bindTarget } from '#relay/endpoints/index.ts'
import type { RelayError } from '#relay/errors.ts'
import { openFolder } from '#test/resources/folder.ts'
import { permit } from './resources.ts'

const target = (text: string): Endpoint => bindTarget(text)
const ceiling = (lines: string[] = [], forbidden: string[] = []) =>
  openCeiling({ permit: permit(...lines), forbid: permit(...forbidden) })

function refusal(act: () => void): string | undefined {
  try {
    act()
  } catch (thrown) {
    expect((thrown as RelayError).code).toBe('denied')
    return (thrown as RelayError).message
  }
  return undefined
}

describe('listeners', () => {
  test.each([
    ['TCP4-LISTEN:8080,bind=127.0.0.1', [], true],
    ['TCP-LISTEN:8080,bind=127.9.9.9,fork', [], true],
    ['TCP6-LISTEN:8080,bind=[::1]', [], true],
    ['TCP4-LISTEN:8080,bind=localhost', [], true],
    ['TCP4-LISTEN:8080', [], false],
    ['TCP-LISTEN:8080,bind=10.0.0.1', [], false],
    ['TCP6-LISTEN:8080,bind=[::]', [], false],
    ['MEMORY-LISTEN:a', [], false],
    ['MEMORY-LISTEN:a', ['MEMORY-LISTEN:*'], true],
    ['UNIX-LISTEN:/run/app.sock', [], false],
    ['UNIX-LISTEN:/run/app.sock,fork,mode=600', ['UNIX-LISTEN:/run/*'], true],
    ['UNIX-LISTEN:/run/app.sock,mode=666', ['UNIX-LISTEN:/run/*'], false],
    ['UNIX-LISTEN:/run/app.sock,umask=0', ['UNIX-LISTEN:/run/*'], false],
    ['UNIX-LISTEN:/run/app.sock,mode=666', ['UNIX-LISTEN:/run/*,mode=666'], true],
    ['UNIX-LISTEN:/run/app.sock,unlink-early', ['UNIX-LISTEN:/run/*'], false],
    ['UNIX-LISTEN:/run/../etc/app.sock', ['UNIX-LISTEN:/run/**'], false],
    ['ABSTRACT-LISTEN:app', [], false],
    ['ABSTRACT-LISTEN:app', ['ABSTRACT-LISTEN:app'], true],
    ['TCP4-LISTEN:8080', ['TCP-LISTEN:0.0.0.0:8080'], true],
    ['TCP4-LISTEN:8081', ['TCP-LISTEN:0.0.0.0:8080'], false],
    ['TCP-LISTEN:8500,bind=10.1.2.3', ['TCP-LISTEN:10.0.0.0/8:8000-8999'], true],
    ['TCP-LISTEN:9000,bind=10.1.2.3', ['TCP-LISTEN:10.0.0.0/8:8000-8999'], false],
    ['TCP-LISTEN:8500,bind=web.example.com', ['TCP-LISTEN:10.0.0.0/8:8000-8999'], false],
  ])('%s with %j: %j', (text, lines, permitted) => {
    expect(refusal(() => ceiling(lines).checkListen(bindListen(text))) === undefined).toBe(permitted)
  })

  test('the refusal prints the line that permits it, and the way without one', () => {
    expect(refusal(() => ceiling().checkListen(bindListen('TCP4-LISTEN:8080,fork')))).toBe(
      'TCP4-LISTEN:0.0.0.0:8080: the host\'s ceiling has no listener on 0.0.0.0:8080. Permit it there: add "TCP4-LISTEN:0.0.0.0:8080" under permit: in agent.yaml, or listen with bind=127.0.0.1',
    )
  })
})

describe('targets', () => {
  test.each([
    ['TCP:example.com:80', undefined, [], [], true],
    ['TCP4:10.0.0.1:80', '10.0.0.1', [], [], true],
    ['TCP:10.66.1.1:80', undefined, [], ['TCP:10.66.0.0/16:*'], false],
    ['TCP:db.example.com:80', undefined, [], ['TCP:10.66.0.0/16:*'], true],
    ['TCP:db.example.com:80', '10.66.1.1', [], ['TCP:10.66.0.0/16:*'], false],
    ['TCP:db.example.com:80', '10.67.1.1', [], ['TCP:10.66.0.0/16:*'], true],
    ['TCP4:db.example.com:80', '10.66.1.1', ['TCP:db.example.com:80'], ['TCP:10.66.0.0/16:*'], false],
    ['TCP:169.254.169.254:80', undefined, [], [], false],
    ['TCP:0xa9fea9fe:80', undefined, [], [], false],
    ['TCP:169.254.169.254:80', undefined, ['TCP:169.254.0.0/16:*'], [], false],
    ['TCP:169.254.169.254:80', undefined, ['TCP:169.254.169.254:80'], [], true],
    ['TCP:169.254.169.254:81', undefined, ['TCP:169.254.169.254:80'], [], false],
    ['TCP:metadata:80', '169.254.169.254', ['TCP:metadata:80'], [], false],
    ['TCP:[::ffff:169.254.169.254]:80', undefined, [], [], false],
    ['TCP:[64:ff9b::a9fe:a9fe]:80', undefined, [], [], false],
    ['TCP:0.0.0.0:80', undefined, [], [], false],
    ['UNIX-CONNECT:/var/run/postgresql/.s.PGSQL.5432', undefined, [], [], false],
    ['UNIX-CONNECT:/var/run/postgresql/s', undefined, ['UNIX-CONNECT:/var/run/postgresql/*'], [], true],
    ['UNIX:/var/run/postgresql/s', undefined, ['UNIX-CONNECT:/var/run/postgresql/*'], [], true],
    ['UNIX-CONNECT:/var/run/docker.sock', undefined, ['UNIX-CONNECT:/var/run/postgresql/*'], [], false],
    ['UNIX-CLIENT:/run/a', undefined, ['UNIX-CONNECT:/run/*'], ['UNIX-CONNECT:/run/a'], false],
    ['ABSTRACT:app', undefined, [], [], false],
    ['ABSTRACT:app', undefined, ['ABSTRACT-CONNECT:*'], [], true],
    ['HEALTH', undefined, [], [], true],
    ['STATUS', undefined, [], [], true],
    ['ECHO', undefined, [], [], true],
    ['DISCARD', undefined, [], [], true],
    ['ZERO', undefined, [], [], true],
    ['CHARGEN', undefined, [], [], true],
    ['TIME', undefined, [], [], true],
    ['CHARGEN', undefined, [], ['CHARGEN'], false],
    ['HTTP-FILE:/srv/file', undefined, [], [], false],
    ['HTTP-FILE:/srv/file', undefined, ['OPEN:/srv/*,rdonly'], [], true],
    ['HTTP-FILE:/srv/file', undefined, ['HTTP-FILE:/srv/*'], [], true],
    ['HTTP-FILE:/etc/shadow', undefined, ['OPEN:/srv/*,rdonly'], [], false],
    ['HTTP-FILE:/srv/file', undefined, ['HTTP-FILE:/srv/*'], ['OPEN:/srv/file'], false],
    ['MEMORY:a', undefined, [], [], false],
    ['MEMORY:a', undefined, ['MEMORY:*'], [], true],
  ])('%s at %s with permit %j and forbid %j: %j', (text, ip, lines, forbidden, permitted) => {
    const rules = ceiling(lines, forbidden)
    const act = () => (ip ? rules.check(target(text).scope, ip) : rules.checkTarget(target(text)))
    expect(refusal(act) === undefined).toBe(permitted)
  })

  test('each refusal names its rule', () => {
    const forbidden = refusal(() =>
      ceiling([], ['TCP:10.66.0.0/16:*']).checkTarget(target('TCP:10.66.1.1:80')),
    )
    expect(forbidden).toContain("the host's ceiling forbids TCP:10.66.0.0/16:* (the test)")
    const reserved = refusal(() => ceiling().check(target('TCP:metadata:80').scope, '169.254.169.254'))
    expect(reserved).toContain('add "TCP:169.254.169.254:80" under permit: in agent.yaml')
    expect(refusal(() => ceiling().checkTarget(target('MEMORY:a')))).toContain('add "MEMORY:a" under permit:')
  })
})

test('the printed line, once it is written, permits what was refused', () => {
  for (const text of [
    'TCP4-LISTEN:8080',
    'TCP6-LISTEN:8080,bind=[2001:db8::1]',
    'MEMORY-LISTEN:a',
    'UNIX-LISTEN:/run/a*b.sock,group=app,mode=0660,unlink-early',
    'ABSTRACT-LISTEN:app',
  ]) {
    const line = /add "(.+?)" under/.exec(refusal(() => ceiling().checkListen(bindListen(text)))!)![1]!
    expect(refusal(() => ceiling([line]).checkListen(bindListen(text)))).toBe(undefined)
  }
})

test('so does the line of a target', () => {
  for (const text of ['UNIX-CONNECT:/run/a\\,b/\\:c.sock', 'ABSTRACT:app', 'HTTP-FILE:/srv/a file']) {
    const line = /add "(.+)" under/.exec(refusal(() => ceiling().checkTarget(target(text)))!)![1]!
    expect(
      refusal(() => ceiling([line]).checkTarget(target(text))),
      line,
    ).toBe(undefined)
  }
})

test('what is forbidden stays so under every name that links give it', async () => {
  await using folder = await openFolder()
  const real = await realpath(folder.path)
  await mkdir(join(real, 'secret'))
  await writeFile(join(real, 'secret/file'), 'secret')
  await symlink(join(real, 'secret'), join(real, 'link'))
  const egress = ceiling(
    ['HTTP-FILE:/**', 'UNIX-LISTEN:/**', 'UNIX-CONNECT:/**'],
    [`OPEN:${real}/secret/**`, `UNIX-LISTEN:${real}/secret/*`],
  )
  const cx = { egress, signal: new AbortController().signal }
  for (const path of [`${real}/link/file`, `/proc/self/root${real}/secret/file`]) {
    const { dialer, scope } = target(`HTTP-FILE:${path}`)
    expect(refusal(() => egress.check(scope))).toBe(undefined)
    await expect(dialer!.dial(cx)).rejects.toMatchObject({
      code: 'denied',
      what: `HTTP-FILE:${real}/secret/file`,
    })
  }
  await expect(bindListen(`UNIX-LISTEN:${real}/link/app.sock`).acceptor!.listen(cx)).rejects.toMatchObject({
    code: 'denied',
    why: expect.stringContaining(`forbids UNIX-LISTEN:${real}/secret/*`),
  })
})

test('a replaced ceiling holds from the next check on', () => {
  const rules = ceiling()
  rules.replace({ permit: permit(), forbid: permit('TCP:*:*') })
  expect(refusal(() => rules.checkTarget(target('TCP:example.com:80')))).toContain('forbids')
})

test.each(['STDIO', 'STDIN', 'STDOUT', 'STDERR', 'FD:3', 'READLINE'])(
  '%s is for no agent, whatever is permitted',
  text => {
    expect(refusal(() => ceiling().checkTarget(target(text)))).toMatch(
      /belongs to whoever starts the process by hand.*fleetcat socat/,
    )
    expect(() => permit(text)).toThrow(`no line can speak of ${text.split(':')[0]}`)
  },
)

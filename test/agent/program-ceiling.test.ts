import { symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { openCeiling } from '#agent/ceiling.ts'
import { bindTarget } from '#relay/endpoints/index.ts'
import { parsePattern } from '#relay/pattern.ts'
import { openContext } from '#test/resources/contexts.ts'
import { openFolder } from '#test/resources/folder.ts'
import { permit } from './resources.ts'

const ceiling = (lines: readonly string[], forbidden: readonly string[] = []) =>
  openCeiling({ permit: permit(...lines), forbid: permit(...forbidden) })

function refusal(text: string, lines: readonly string[], forbidden: readonly string[] = []) {
  try {
    ceiling(lines, forbidden).checkTarget(bindTarget(text))
    return undefined
  } catch (thrown) {
    return (thrown as Error).message
  }
}

describe('a program is permitted by its words', () => {
  test.each([
    ['EXEC:/usr/bin/uptime', [], false],
    ['EXEC:/usr/bin/uptime', ['EXEC:/usr/bin/uptime'], true],
    ['EXEC:uptime', ['EXEC:/usr/bin/uptime'], true],
    ['EXEC:uptime,path=/bin', ['EXEC:/bin/uptime'], false],
    ['EXEC:uptime,path=/bin', ['EXEC:/bin/uptime,path=/bin'], true],
    ['EXEC:/usr/bin/uptime -p', ['EXEC:/usr/bin/uptime'], false],
    ['EXEC:/usr/bin/uptime -p', ['EXEC:/usr/bin/uptime -*'], true],
    ['EXEC:/usr/bin/uptime -p -s', ['EXEC:/usr/bin/uptime -*'], false],
    ['EXEC:/usr/bin/uptime -p -s', ['EXEC:/usr/bin/uptime **'], true],
    ['EXEC:/usr/bin/uptime', ['EXEC:/usr/bin/uptime **'], true],
    ['EXEC:/usr/bin/uptime \\"-p -s\\"', ['EXEC:/usr/bin/uptime *'], true],
    ['EXEC:/usr/bin/cat /var/log/a', ['EXEC:/usr/bin/cat /var/log/*'], true],
    ['EXEC:/usr/bin/cat /var/log/a/b', ['EXEC:/usr/bin/cat /var/log/*'], false],
    ['EXEC:/usr/bin/cat /var/log/../a', ['EXEC:/usr/bin/cat /var/log/**'], false],
    ['EXEC:/usr/bin/cat /var/log/a /etc/shadow', ['EXEC:/usr/bin/cat /var/log/*'], false],
    ['EXEC:/usr/bin/../sbin/halt', ['EXEC:/usr/bin/**'], false],
    ['EXEC:/opt/tool --to=a', ['EXEC:/opt/*'], false],
    ['EXEC:/opt/tool', ['EXEC:**'], true],
    ['EXEC:/opt/tool with words', ['EXEC:**'], true],
    ['SYSTEM:uptime', ['EXEC:**'], false],
    ['SYSTEM:uptime', ['SYSTEM:uptime'], true],
    ['SYSTEM:uptime; id', ['SYSTEM:uptime*'], false],
    ['SYSTEM:uptime $(id)', ['SYSTEM:uptime *'], false],
    ['SYSTEM:uptime -p -s', ['SYSTEM:uptime *'], false],
    ['SYSTEM:uptime -p', ['SYSTEM:uptime *'], true],
    ['SYSTEM:uptime; id', ['SYSTEM:**'], true],
    ['SHELL:uptime', ['SYSTEM:uptime'], false],
    ['SHELL:uptime,shell=/bin/zsh', ['SHELL:uptime'], false],
    ['SHELL:uptime,shell=/bin/zsh', ['SHELL:uptime,shell=/bin/zsh'], true],
  ] as const)('%s with permit %j: %j', (text, lines, permitted) => {
    expect(refusal(text, lines) === undefined).toBe(permitted)
  })
})

describe('what gives a program more must be said in the line', () => {
  test.each([
    ['user=daemon', 'user=daemon', true],
    ['su=daemon', 'user=daemon', true],
    ['setuid=1', 'user=daemon', true],
    ['user=root', 'user=daemon', false],
    ['user=root', '', false],
    ['group=daemon', '', false],
    ['chdir=/srv', '', false],
    ['cd=/srv/a', 'chdir=/srv/*', true],
    ['umask=0', '', false],
    ['env=PATH=/tmp', '', false],
    ['env=TZ=UTC;LANG', 'env=LANG;TZ=*', true],
    ['env=TZ=UTC;LANG', 'env=LANG', false],
    ['pty,stderr,setsid,raw', '', true],
    ['pipes,fdin=3,limit-nofile=10', '', true],
  ])('%s under a line with %j: %j', (options, line, permitted) => {
    const pattern = ['EXEC:/usr/bin/id', line].filter(Boolean).join(',')
    expect(refusal(`EXEC:/usr/bin/id,${options}`, [pattern]) === undefined).toBe(permitted)
  })

  test('a line may not speak of what makes no difference, nor of accounts by number', () => {
    expect(() => parsePattern('EXEC:/usr/bin/id,pty')).toThrow('makes no difference')
    expect(() => parsePattern('EXEC:/usr/bin/id,user=0')).toThrow('Write the name of the account')
    expect(() => parsePattern('EXEC:/usr/bin/id \\"a')).toThrow('its command line is none')
  })
})

describe('what is forbidden', () => {
  test.each([
    ['EXEC:/usr/bin/id', 'EXEC:/usr/bin/id'],
    ['EXEC:/usr/bin/id -u', 'EXEC:/usr/bin/id'],
    ['EXEC:id -u,path=/usr/bin,user=daemon', 'EXEC:/usr/bin/id'],
    ['EXEC:/usr//bin/../bin/id', 'EXEC:/usr/bin/id'],
    ['EXEC:/usr/bin/id,user=0', 'EXEC:**,user=root'],
  ])('%s is so under forbid %s, whatever is permitted', (text, forbidden) => {
    const lines = ['EXEC:**', 'EXEC:**,user=*', 'EXEC:**,path=**', 'EXEC:**,user=*,path=**']
    expect(refusal(text, lines)).toBe(undefined)
    expect(refusal(text, lines, [forbidden])).toContain('forbids')
  })

  test('stays so under the names that links give it', async () => {
    await using folder = await openFolder()
    await symlink('/usr/bin/id', join(folder.path, 'harmless'))
    const egress = ceiling(['EXEC:**'], ['EXEC:/usr/bin/id'])
    const dial = bindTarget(`EXEC:${folder.path}/harmless`).dialer!.dial(openContext({ egress }))
    await expect(dial).rejects.toMatchObject({ code: 'denied', why: expect.stringContaining('forbids') })
  })
})

test('the printed line, once it is written, permits exactly what was refused', () => {
  for (const text of [
    'EXEC:/usr/bin/uptime',
    'EXEC:uptime -p',
    String.raw`EXEC:/usr/bin/printf \"a  b\" * \\\\ \"\" [x] it\\\'s`,
    'EXEC:/usr/bin/env,user=daemon,group=daemon,chdir=/srv,umask=22,env=A=a,env=*',
    'EXEC:"/usr/bin/ssh -W 127.0.0.1:5432 db"',
    'SYSTEM:echo "a\\: $HOME"; id | cat \\* >/dev/null',
    'SHELL:id,shell=/bin/bash,su=daemon',
  ].map(each => each.replace('env=A=a,env=*', 'env=A=*;B'))) {
    const refused = refusal(text, [])!
    expect(refused, text).toContain('under permit')
    const line = /add "(.+)" under permit/.exec(refused)![1]!
    expect(refusal(text, [line]), `${text}\n${line}`).toBe(undefined)
    expect(refusal(text.replace(/^(\w+):/, '$1:x'), [line])).toContain('add "')
  }
})

import { describe, expect, test } from 'vitest'
import { needing } from '#test/resources/needs.ts'
import { run } from '#test/resources/program.ts'
import { converse } from '#test/resources/programs.ts'

const addresses = [
  'EXEC:cat /proc/self/status',
  'EXEC:/bin/cat /proc/self/status,pipes',
  'EXEC:cat /proc/self/status,login',
  'EXEC:cat /proc/self/status,umask=77,limit-nofile=64',
  'EXEC:cat /proc/self/status,pty,ctty,raw',
  'SYSTEM:exec cat /proc/self/status',
  'SHELL:exec cat /proc/self/status,shell=/bin/sh',
]

/** The fields of /proc/PID/status. */
async function status(address: string): Promise<Record<string, string>> {
  const { output } = await converse(address)
  const fields = [...output.matchAll(/^(\w+):[ \t]*([^\r\n]*?)\s*$/gm)]
  return Object.fromEntries(fields.map(([, name, value]) => [name, value?.replaceAll('\t', ' ')]))
}

const none = '0000000000000000'

describe('words of an operator', () => {
  const hostile = [
    '$(touch /tmp/fleetcat-owned)',
    '`id`',
    ';id',
    '|id',
    '&&id',
    '>/tmp/fleetcat-owned',
    '--help',
    '-c',
    '%s%n',
    '$0',
    '../../etc/passwd',
    "'",
    '',
  ]

  test('reach the program as they are, and nothing else', async () => {
    for (const options of [
      '',
      ',umask=27',
      ',limit-nofile=64',
      ',login',
      ',umask=27,limit-nofile=64,pty,raw',
    ]) {
      const written = hostile.map(word => `"${word.replace(/["\\]/g, '\\$&')}"`).join(' ')
      const line = `/bin/sh -c "cat /proc/\\$\\$/cmdline" ${written}`
      const address = `EXEC:"${line.replace(/["\\]/g, '\\$&')}"${options}`
      const words = (await converse(address)).output.split('\0')
      const name = options === ',login' ? '-/bin/sh' : '/bin/sh'
      expect(words, options).toEqual([name, '-c', 'cat /proc/$$/cmdline', ...hostile, ''])
    }
    expect((await run(['ls', '/tmp/fleetcat-owned'])).code).not.toBe(0)
  })

  test('are no options of what prepares the program', async () => {
    const { output } = await converse(
      'EXEC:"/bin/sh -c \\"cat /proc/\\\\$\\\\$/cmdline\\" --reuid=0 -- --nofile",user=daemon,umask=0',
    )
    expect(output.split('\0').slice(3)).toEqual(['--reuid=0', '--', '--nofile', ''])
  })
})

describe('the environment of this process', () => {
  test('is not that of a program', async () => {
    process.env.FLEETCAT_TEST_CANARY = 'sings'
    process.env.NODE_TEST_CANARY = 'sings'
    try {
      for (const address of ['EXEC:env', 'EXEC:env,pty,ctty,raw', 'EXEC:env,umask=22', 'EXEC:env,login']) {
        const { output } = await converse(address)
        expect(output).not.toContain('sings')
        const names = output.split(/\r?\n/).flatMap(line => /^(\w+)=/.exec(line)?.[1] ?? [])
        const known =
          /^(PATH|HOME|USER|LOGNAME|SHELL|LANG|LC_[A-Z]+|TERM|PWD|(SOCAT|FLEETCAT)_(PID|PPID|VERSION)|FLEETCAT_PROGRAM)$/
        expect(names.filter(name => !known.test(name))).toEqual([])
      }
      const asked = await converse('SYSTEM:echo $FLEETCAT_TEST_CANARY $TZ,env=FLEETCAT_TEST_CANARY;TZ=UTC')
      expect(asked.output).toBe('sings UTC\n')
    } finally {
      delete process.env.FLEETCAT_TEST_CANARY
      delete process.env.NODE_TEST_CANARY
    }
  })
})

describe('privileges', () => {
  for (const address of addresses) {
    test(`none can be gained by ${address}`, async () => {
      expect(await status(address)).toMatchObject({
        NoNewPrivs: '1',
        CapInh: none,
        CapPrm: none,
        CapEff: none,
        CapAmb: none,
        SigIgn: none,
      })
    })

    needing('root')(`none of root's are kept by ${address}`, async () => {
      expect(await status(address)).toMatchObject({ CapBnd: none, Groups: '' })
    })

    needing('root')(`another user's are had by ${address}, and no others`, async () => {
      expect(await status(`${address},user=daemon`)).toMatchObject({
        Uid: '1 1 1 1',
        Gid: '1 1 1 1',
        Groups: '1',
        NoNewPrivs: '1',
        CapPrm: none,
        CapBnd: none,
      })
    })
  }

  needing('root')('a group takes the place of the first one, and a number will do for a user', async () => {
    expect(await status('EXEC:cat /proc/self/status,su=daemon,group=games')).toMatchObject({
      Uid: '1 1 1 1',
      Gid: '60 60 60 60',
      Groups: '1',
    })
    expect(await status('EXEC:cat /proc/self/status,user=54321,group=54322')).toMatchObject({
      Uid: '54321 54321 54321 54321',
      Gid: '54322 54322 54322 54322',
      Groups: '',
    })
  })

  needing('root', 'setpriv')('without root nobody else can be had, and it is said so', async () => {
    const script = `
      import { converse } from '#test/resources/programs.ts'
      const attempts = ['EXEC:id -u', 'EXEC:id -u,user=nobody', 'EXEC:id -u,user=root']
      for (const each of attempts) console.log(await converse(each).then(s => s.output, e => e.message))`
    const drop = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--']
    const { stdout, stderr } = await run([...drop, process.execPath, '--input-type=module', '-e', script])
    expect(stdout, stderr).toMatch(/^65534\n\n65534\n\nEXEC.*only a process of root can start programs/)
  })
})

import { describe, expect, test } from 'vitest'
import { fromSocat } from '#cli/socat/from-socat.ts'
import { shellWords } from '#cli/socat/shell-words.ts'
import { fleetcat } from '../running.ts'

describe('a line is split as a shell splits it', () => {
  test.each([
    ['socat  -d\t-d - ECHO', ['socat', '-d', '-d', '-', 'ECHO']],
    [`a 'b c' "d e" f' 'g`, ['a', 'b c', 'd e', 'f g']],
    [String.raw`a\ b "c\"d" 'e\f' "g\h"`, ['a b', 'c"d', String.raw`e\f`, String.raw`g\h`]],
    ['a "" b', ['a', '', 'b']],
    ['socat \\\n  A \\\n  B &', ['socat', 'A', 'B']],
  ])('%s', (line, words) => {
    expect(shellWords(line)).toEqual(words)
  })

  test.each([
    ['socat TCP:$HOST:80 -', '`$` in it is a variable'],
    ['socat "TCP:`x`:80" -', '`` ` `` in it is a command'.replace('`` ` ``', '```')],
    ['socat - TCP:a:80 | tee x', '`|` in it is a pipe'],
    ['socat - TCP:a:80 > x', '`>` in it is a redirection'],
    ['socat - TCP:a:80; rm x', '`;` in it is a second command'],
    ["socat 'TCP:a:80", 'is never closed'],
  ])('%s is refused', (line, why) => {
    expect(() => shellWords(line)).toThrow(why)
  })
})

describe('a command line of socat as a relay of the fleet', () => {
  test('has its addresses and what a relay can make of its options', () => {
    const line = `sudo /usr/bin/socat -d -d -lf /var/log/x -T 15 -u -x -v \\
      TCP4-LISTEN:8080,bind=127.0.0.1,fork,reuseaddr 'TCP4:example.com:80'`
    expect(fromSocat(line)).toEqual({
      listen: 'TCP4-LISTEN:8080,bind=127.0.0.1,fork,reuseaddr',
      target: 'TCP4:example.com:80',
      options: { idleTimeout: '15s', unidirectional: 'forward', dump: 'both' },
      notes: [
        expect.stringMatching(/^socat's -d\[ddd\] is left out: an agent writes its own log/),
        expect.stringMatching(/^socat's -lf<logfile> is left out/),
        expect.stringContaining('--dump-file PATH'),
      ],
    })
  })

  test.each([
    ['-t 5', {}],
    ['-T 0.5', { idleTimeout: '500ms' }],
    ['-T0', {}],
    ['-U', { unidirectional: 'backward' }],
    ['-v', { dump: 'text' }],
    ['-x', { dump: 'hex' }],
    ['-r /var/tmp/a:b', { tee: ['OPEN:"/var/tmp/a:b",creat,append'] }],
  ])('%s becomes %j', (words, options) => {
    expect(fromSocat(`socat ${words} TCP-L:80 TCP:a:80`).options).toEqual(options)
  })

  test.each([
    ['cat file', 'does not begin with `socat`'],
    ['socat TCP-L:80', 'takes two addresses, and the line has 1'],
    ['socat - TCP:a:80', 'STDIO cannot be an end of a relay of the fleet'],
    ['socat TCP-L:80,fork STDOUT', 'or run the line here with `fleetcat socat`'],
    ['socat ECHO TCP-L:80,fork', 'Exchange the two addresses'],
    ['socat -L /run/x TCP-L:80 TCP:a:80', 'lockfile='],
    ['socat -R /tmp/x TCP-L:80 TCP:a:80', '--dump'],
    ['socat -6 TCP-L:80 TCP:a:80', 'TCP6'],
    ['socat -V', '`fleetcat socat -V` tells'],
    ['socat -y TCP-L:80 TCP:a:80', 'unknown option "-y"'],
  ])('%s is refused', (line, why) => {
    expect(() => fromSocat(line)).toThrow(why)
  })

  test('is what `create --from-socat` takes, with its own addresses only', async () => {
    const line = 'socat TCP4-LISTEN:0,fork TCP4:a'
    const wrong = await fleetcat(['create', 'x', '--from-socat', line])
    expect(wrong.stderr).toContain('TCP4:a')
    const both = await fleetcat(['create', 'x', 'TCP4-LISTEN:0', 'TCP4:a:1', '--from-socat', line])
    expect(both.stderr).toContain('beside --from-socat')
    const none = await fleetcat(['create', 'x', 'TCP4-LISTEN:0'])
    expect(none.stderr).toContain('a target is missing')
    expect([wrong.code, both.code, none.code]).toEqual([2, 2, 2])
  })
})

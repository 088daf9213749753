import { describe, expect, test } from 'vitest'
import { readCommandLine } from '../../../cli/socat/command-line.ts'

const settings = (...words: string[]) => readCommandLine(words).settings

describe('the words of socat', () => {
  test('stand before the addresses, with their values attached or separate', () => {
    const { settings, addresses } = readCommandLine([
      '-d',
      '-d',
      '-T15',
      '-t',
      '2.5',
      '-lf',
      '/var/log/x.log',
      '-lpweb',
      '-b',
      '0x400',
      'TCP4-LISTEN:80',
      '-',
    ])
    expect(settings).toMatchObject({
      level: 'N',
      idleMs: 15_000,
      halfCloseMs: 2_500,
      log: { to: 'file', path: '/var/log/x.log' },
      programName: 'web',
      bufferBytes: 1_024,
    })
    expect(addresses).toEqual(['TCP4-LISTEN:80', '-'])
  })

  test.each([
    [[], 'E'],
    [['-d'], 'W'],
    [['-d', '-d'], 'N'],
    [['-ddd'], 'I'],
    [['-dddd', '-d'], 'D'],
    [['-d0'], 'E'],
    [['-d2'], 'N'],
  ])('%j says as much as %s', (words, level) => {
    expect(settings(...words).level).toBe(level)
  })

  test('what begins like an option and is STDIO is an address', () => {
    for (const address of ['-', '-,raw', '-!!/dev/null']) {
      expect(readCommandLine([address, 'ECHO']).addresses).toEqual([address, 'ECHO'])
    }
  })

  test('the letters of help ask for more the more there are of them', () => {
    expect(settings('-h').asks).toBe('help')
    expect(settings('-??').asks).toBe('help-options')
    expect(settings('-hhh').asks).toBe('help-all')
    expect(settings('-V').asks).toBe('version')
  })

  test.each([
    [['-z'], 'unknown option "-z"'],
    [['--foo'], 'unknown option "--foo"'],
    [['-lx'], 'unknown log option "-lx"'],
    [['-d9'], 'unknown option "-d9"'],
    [['-T', 'x'], 'missing numerical value of option "-T"'],
    [['-t'], 'option "-t" requires an argument'],
    [['-bx'], 'missing numerical value of option "-b"'],
    [['-b', '0x7fffffff'], 'the largest buffer'],
    [['-u', '-U'], '-U and -u must not be combined'],
    [['-g'], 'is always refused'],
  ])('%j is refused', (words, why) => {
    expect(() => readCommandLine(words)).toThrow(why)
  })
})

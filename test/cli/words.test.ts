import { readFile } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { commands } from '#cli/commands.ts'
import { version } from '#wire/version.ts'
import { fleetcat } from './running.ts'

describe('the overview', () => {
  test('names every command, on stdout', async () => {
    const { code, stdout, stderr } = await fleetcat(['--help'])
    expect(code).toBe(0)
    expect(stderr).toBe('')
    for (const { name, summary } of commands)
      expect(stdout).toMatch(new RegExp(`^ +${name} +${escaped(summary)}$`, 'm'))
  })

  test('is shown on stderr, with exit 2, when the command was forgotten', async () => {
    const { code, stdout, stderr } = await fleetcat([])
    expect(code).toBe(2)
    expect(stdout).toBe('')
    expect(stderr).toContain('Usage: fleetcat COMMAND')
  })
})

const escaped = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')

describe('every command', () => {
  test.each(commands.map(({ name }) => name))('`%s --help` has options and examples', async name => {
    const { code, stdout, stderr } = await fleetcat([name, '--help'])
    expect(stderr).toBe('')
    expect(code).toBe(0)
    expect(stdout).toMatch(new RegExp(`^Usage: fleetcat ${name} `))
    expect(stdout).toContain('Examples:')
    expect(stdout).toContain(`fleetcat ${name}`)
  })

  test('is found by `help NAME` too', async () => {
    const [one, other] = await Promise.all([fleetcat(['help', 'list']), fleetcat(['list', '--help'])])
    expect(one.stdout).toBe(other.stdout)
  })
})

describe('a mistake on the command line is exit 2 and says what would be right', () => {
  test.each<[string, string[], RegExp]>([
    ['a misspelt command', ['lsit'], /unknown command `lsit`.*`fleetcat list`/],
    ['a command that is not there', ['frobnicate'], /unknown command `frobnicate`/],
    ['an option before the command', ['--wach', 'list'], /options come after the command/],
    [
      'a misspelt option',
      ['list', '--selctor', 'a=b'],
      /unknown option '--selctor'. Did you mean --selector\?/,
    ],
    [
      'an option that create does not have',
      ['create', 'a', 'b', 'c', '--colour', 'red'],
      /unknown option '--colour'/,
    ],
    ['an unknown format', ['list', '-o', 'xml'], /Allowed choices are table, wide, json/],
    ['a missing argument', ['describe'], /missing required argument 'target'/],
    ['a target without a kind', ['describe', 'web'], /Write relay\/web/],
    ['a target that revoke does not know', ['revoke', 'host/web'], /It takes relay\/NAME, conn\/ID/],
    ['a source that is no network', ['revoke', 'source/10.0.0.1/8'], /Write `10\.0\.0\.0\/8`/],
    ['a revoke of nothing', ['revoke'], /it does not say what/],
    ['a part of no network', ['revoke', 'source/10.0.0.0/8', '--except', 'x'], /neither an IP address/],
    ['both --on and -l', ['create', 'a', '--on', 'x', '-l', 'y=z', 'b', 'c'], /both --on and -l/],
    ['a misspelt keyword', ['create', 'a', 'TCP4-LSTEN:1', 'TCP4:h:1'], /Did you mean `TCP4-LISTEN`\?/],
    ['a duration without a unit', ['create', 'a', '--idle-timeout', '15', 'b', 'c'], /Write 15s/],
    ['a rate that is none', ['create', 'a', '--rate', 'fast', 'b', 'c'], /--rate 50\/s/],
    [
      'a number that nothing can hold',
      ['create', 'a', '--max-connections', '99999999999999999999', 'b', 'c'],
      /the highest is 4294967295/,
    ],
    ['a label twice', ['create', 'a', '--label', 'x=1', '--label', 'x=2', 'b', 'c'], /`x` is `1` already/],
    [
      'a label of a token twice',
      ['token', 'create', 'agent', '--label', 'x=1', '--label', 'x=1'],
      /`x` is `1`/,
    ],
    ['an address kind of socat that is not here', ['addresses', 'SCTP'], /SCTP/],
    ['--timeout without --wait', ['create', 'a', '--timeout', '5s', 'b', 'c'], /Add --wait/],
    ['--prune without a selector', ['apply', '-f', 'x', '--prune'], /--prune needs a selector/],
    ['nothing to do', ['token'], /fleetcat token: what to do is missing/],
    ['a role that is none', ['token', 'create', 'operator', '--role', 'king'], /viewer, operator, admin/],
    ['no token', ['login'], /no token is given/],
    ['a token that is none', ['login', 'fcat1_xyz'], /token/],
  ])('%s', async (_, words, message) => {
    const { code, stdout, stderr } = await fleetcat(words)
    expect(stderr).toMatch(message)
    expect(stderr).toMatch(/^fleetcat( [a-z ]+)?: [^\n]*\n$/)
    expect(stderr).not.toMatch(/\.\.|^fleetcat: fleetcat/)
    expect(code).toBe(2)
    expect(stdout).toBe('')
  })
})

describe('version', () => {
  test('is that of the package', async () => {
    const { version: packaged } = JSON.parse(
      await readFile(new URL('../../package.json', import.meta.url), 'utf8'),
    )
    expect(version).toBe(packaged)
    expect((await fleetcat(['version'])).stdout).toBe(`fleetcat ${packaged}\n`)
    expect((await fleetcat(['--version'])).stdout).toBe(`fleetcat ${packaged}\n`)
  })

  test('says more as JSON', async () => {
    const { stdout } = await fleetcat(['version', '-o', 'json'])
    expect(JSON.parse(stdout)).toMatchObject({
      apiVersion: 'fleetcat/v1',
      kind: 'Version',
      version,
      platform: process.platform,
      node: expect.stringMatching(/^24\./),
    })
  })
})

describe('addresses', () => {
  test('lists the kinds, and the options of one', async () => {
    const all = await fleetcat(['addresses', '-o', 'name'])
    expect(all.stdout.split('\n')).toContain('TCP4-LISTEN')
    const one = await fleetcat(['addresses', 'tcp4-l', '-o', 'json'])
    const item = JSON.parse(one.stdout)
    expect(item.keyword).toBe('TCP4-LISTEN')
    expect(
      item.groups.flatMap((group: { options: { name: string }[] }) => group.options.map(o => o.name)),
    ).toContain('fork')
  })

  test('an unknown one is exit 4 and names the nearest', async () => {
    const { code, stderr } = await fleetcat(['addresses', 'TCP4-LISTN'])
    expect(code).toBe(4)
    expect(stderr).toContain('`TCP4-LISTEN`')
  })
})

test('without a context it says how to get one', async () => {
  const { code, stderr } = await fleetcat(['list'])
  expect(code).toBe(1)
  expect(stderr).toContain('`fleetcat up`')
  const status = await fleetcat(['status'])
  expect(status.code).toBe(1)
})

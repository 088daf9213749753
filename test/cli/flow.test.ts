import { describe, expect, test } from 'vitest'
import { changeItem } from '#cli/changes.ts'
import { yaml } from '#cli/output/structured.ts'
import { parseRelays } from '#cli/relay-file.ts'
import { formatByteRate, formatSize, parseByteRate, parseSize } from '#cli/size.ts'
import { describeRelay } from '#cli/views/described.ts'
import { asFile } from '#cli/views/file.ts'
import { relayItem } from '#cli/views/relay.ts'
import { ChangeKind, RelayView } from '#gen/fleetcat/v1/operator.ts'
import { Direction, DumpFormat } from '#gen/fleetcat/v1/relay.ts'
import { fleetcat } from './running.ts'

describe('sizes and rates', () => {
  test.each<[string, number]>([
    ['64MiB', 67_108_864],
    ['500MB', 500_000_000],
    ['1.5KB', 1_500],
    ['4096B', 4_096],
    ['2 GiB', 2 ** 31],
  ])('%s', (text, size) => {
    expect(parseSize(text, 'x')).toBe(size)
    expect(parseByteRate(`${text}/s`, 'x')).toBe(size)
    expect(parseByteRate(text, 'x')).toBe(size)
  })

  test('are written so that they are read back', () => {
    expect([67_108_864, 1e7, 1_500, 4_096, 1_048_577].map(formatSize)).toEqual([
      '64MiB',
      '10MB',
      '1500B',
      '4KiB',
      '1048577B',
    ])
    expect(formatByteRate(524_288)).toBe('512KiB/s')
    for (const size of [1, 999, 1_000, 1_024, 123_456_789, 2 ** 40])
      expect(parseSize(formatSize(size), 'x')).toBe(size)
  })

  test.each<[string, RegExp]>([
    ['10M/s', /`M` is no unit of bytes\. Did you mean 10MB\/s\?/],
    ['10mib/s', /Did you mean 10MiB\/s\?/],
    ['100', /it has no unit\. Write 100B\/s/],
    ['fast', /it is not a rate of bytes\. Write for example/],
    ['10MB/m', /it is not a rate of bytes/],
    ['0B/s', /more than nothing/],
    ['9999999999GiB', /more than any host has/],
    ['-1MB', /it is not a rate/],
  ])('%s is refused', (text, message) => {
    expect(() => parseByteRate(text, 'x')).toThrow(message)
  })
})

const watched = `apiVersion: fleetcat/v1
kind: Relay
metadata:
  name: watched
spec:
  listen: TCP4-LISTEN:8080,bind=127.0.0.1,fork
  target: TCP4:10.0.0.5:80
  agents: [edge-1]
  unidirectional: forward
  timestamp: true
  throttle: 512KiB/s
  tee:
    - TCP4:10.0.0.6:514
  dump:
    format: both
    file: /var/log/wire.log
    rotate: 64MiB
    keep: 3
`

const item = async (text: string) => {
  const [found] = await parseRelays(text, 'f.yaml')
  return relayItem(RelayView.fromPartial({ relay: { ...found!.draft, id: 'r-1', generation: 1n } }))
}

describe('a file', () => {
  test('says what happens to the bytes, and export writes the same', async () => {
    const [found] = await parseRelays(watched, 'f.yaml')
    expect(found?.draft.spec).toMatchObject({
      unidirectional: Direction.FORWARD,
      timestamp: true,
      throttle: 524_288n,
      tee: ['TCP4:10.0.0.6:514'],
      dump: { format: DumpFormat.BOTH, file: '/var/log/wire.log', rotateBytes: 67_108_864n, keep: 3 },
    })
    const exported = await yaml(asFile(await item(watched)))
    expect(exported).toContain('throttle: 512KiB/s')
    expect((await parseRelays(exported, 'again.yaml'))[0]?.draft).toEqual(found?.draft)
  })

  test('says nothing of it, and export neither', async () => {
    const plain = watched.slice(0, watched.indexOf('  unidirectional'))
    expect(Object.keys(asFile(await item(plain)).spec)).toEqual(['listen', 'targets', 'agents'])
  })

  test.each<[string, string, string, RegExp]>([
    [
      'a misspelt key',
      '  throttle:',
      '  throtle:',
      /^f\.yaml:11: `throtle` is no key of `spec`\. Did you mean `throttle`\?/,
    ],
    [
      'a misspelt key of dump',
      '    rotate:',
      '    rotat:',
      /^f\.yaml:17: `rotat` is no key of `spec\.dump`\. Did you mean `rotate`\?/,
    ],
    [
      'a misspelt direction',
      'unidirectional: forward',
      'unidirectional: foward',
      /^f\.yaml:9: `spec\.unidirectional` is the text `foward`, which is not known here\. Did you mean `forward`\?/,
    ],
    [
      'a format that is none',
      'format: both',
      'format: xml',
      /^f\.yaml:15: .*There are `hex`, `text`, `both`/,
    ],
    [
      'a missing format',
      '    format: both\n',
      '',
      /^f\.yaml:15: `spec\.dump\.format` is missing\. There are `hex`/,
    ],
    [
      'a time that is no yes or no',
      'timestamp: true',
      'timestamp: "yes"',
      /^f\.yaml:10: .*must be `true` or `false`/,
    ],
    [
      'a rate without a unit',
      '512KiB/s',
      '512k/s',
      /^f\.yaml:11: throttle 512k\/s: .*Did you mean 512kB\/s\?/,
    ],
    ['a size that is none', '64MiB', 'big', /^f\.yaml:17: rotate big: it is not a size/],
    ['a bad copy', 'TCP4:10.0.0.6:514', 'TCP4:10.0.0.6', /^f\.yaml:13: .*TCP4:10\.0\.0\.6/],
    [
      'one copy that is no list',
      'tee:\n    - TCP4:10.0.0.6:514',
      'tee: DISCARD',
      /^f\.yaml:12: .*Write `tee: \[DISCARD\]`/,
    ],
    [
      'rotation of no file',
      '    file: /var/log/wire.log\n',
      '',
      /^f\.yaml:16: `spec\.dump\.rotate`: there is no file to rotate/,
    ],
    ['a file that is nowhere', '/var/log/wire.log', 'wire.log', /^f\.yaml:16: .*no absolute path/],
    [
      'copies of what does not go',
      'unidirectional: forward\n  timestamp: true',
      'unidirectional: backward',
      /^f\.yaml:12: `spec\.tee`: it copies what goes forward, and nothing does/,
    ],
  ])('with %s is refused at its line', async (_, from, to, message) => {
    expect(watched).toContain(from)
    const thrown = await parseRelays(watched.replace(from, to), 'f.yaml').then(
      () => expect.unreachable(),
      error => error,
    )
    expect((thrown as AggregateError).errors?.[0]?.message ?? thrown.message).toMatch(message)
  })
})

test('describe and diff show each setting', async () => {
  const shown = describeRelay(await item(watched))
  expect(shown).toMatch(/Flow\n {2}unidirectional: +forward\n {2}timestamp: +true\n {2}throttle: +512KiB\/s/)
  expect(shown).toMatch(/dump\.file: +\/var\/log\/wire\.log/)
  const relay = async (text: string) => {
    const [found] = await parseRelays(text, 'f.yaml')
    return RelayView.fromPartial({ relay: { ...found!.draft, id: 'r-1' } }).relay
  }
  const change = changeItem({
    kind: ChangeKind.UPDATED,
    name: 'watched',
    before: await relay(watched),
    after: await relay(watched.replace('64MiB', '1GiB').replace('  timestamp: true\n', '')),
    revocationId: '',
  })
  expect(change.fields).toEqual([
    { field: 'spec.timestamp', before: 'true', after: null },
    { field: 'spec.dump.rotate', before: '64MiB', after: '1GiB' },
  ])
})

describe('create refuses', () => {
  test.each<[string[], RegExp]>([
    [['--unidirectional', 'foreward'], /Did you mean forward\?/],
    [['--dump', 'hexx'], /Did you mean hex\?/],
    [['--throttle', '10M/s'], /Did you mean 10MB\/s\?/],
    [['-u', '--unidirectional', 'backward'], /-u means forward/],
    [['--dump-file', '/x'], /Add --dump hex, --dump text or --dump both/],
    [['--dump', 'hex', '--dump-keep', '3'], /--dump-keep has no file to keep small\. Add --dump-file PATH/],
    [['--dump', 'hex', '--dump-file', 'wire.log'], /`wire\.log` is no absolute path/],
    [['--tee', 'TCP4-LSTEN:1'], /TCP4-LISTEN/],
    [['--unidirectional', 'backward', '--timestamp'], /nothing does/],
  ])('%j', async (words, message) => {
    const { code, stderr } = await fleetcat(['create', 'a', 'TCP4-LISTEN:1,fork', 'TCP4:h:1', ...words])
    expect(stderr).toMatch(message)
    expect(stderr).toMatch(/^fleetcat[^\n]*\n$/)
    expect(code).toBe(2)
  })
})

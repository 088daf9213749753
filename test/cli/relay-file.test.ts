import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { yaml } from '#cli/output/structured.ts'
import { parseRelays, readRelayFiles } from '#cli/relay-file.ts'
import { asFile } from '#cli/views/file.ts'
import { relayItem } from '#cli/views/relay.ts'
import { RelayView } from '#gen/fleetcat/v1/operator.ts'
import { toMilliseconds } from '#wire/duration.ts'
import { fleetcat, temporary } from './running.ts'

const web = `apiVersion: fleetcat/v1
kind: Relay
metadata:
  name: web
  labels: { team: web, tier: "1" }
spec:
  listen: TCP4-LISTEN:8080,bind=127.0.0.1,fork
  target: TCP4:10.0.0.5:80
  agents: [edge-1]
  limits:
    allowFrom: [10.0.0.0/8]
    maxConnections: 10
    ratePerSecond: 2.5
    idleTimeout: 1m30s
`

describe('a file of relays', () => {
  test('says the same as create with options', async () => {
    const [found] = await parseRelays(web, 'web.yaml')
    expect(found?.draft).toMatchObject({
      name: 'web',
      labels: { team: 'web', tier: '1' },
      spec: {
        listen: 'TCP4-LISTEN:8080,bind=127.0.0.1,fork',
        targets: ['TCP4:10.0.0.5:80'],
        agents: ['edge-1'],
        selector: '',
        limits: { allowFrom: ['10.0.0.0/8'], denyFrom: [], maxConnections: 10, ratePerSecond: 2.5 },
      },
    })
    expect(toMilliseconds(found!.draft.spec!.limits!.idleTimeout!)).toBe(90_000)
  })

  test('may have several documents, lists, and comments only', async () => {
    const db = web.replace('name: web', 'name: db')
    const list = `apiVersion: fleetcat/v1\nkind: RelayList\nitems:\n- ${web.replace('apiVersion: fleetcat/v1\n', '').trimEnd().replaceAll('\n', '\n  ').replace('name: web', 'name: listed')}\n`
    const found = await parseRelays(`# first\n---\n${web}---\n${db}---\n${list}---\n`, 'all.yaml')
    expect(found.map(({ draft }) => draft.name)).toEqual(['web', 'db', 'listed'])
  })

  test('is what export writes: the round trip changes nothing', async () => {
    const [first] = await parseRelays(web, 'web.yaml')
    const view = RelayView.fromPartial({
      relay: { ...first!.draft, id: 'r-1', generation: 3n, createdBy: 'ana' },
    })
    const [again] = await parseRelays(await yaml(asFile(relayItem(view))), 'again.yaml')
    expect(again?.draft).toEqual(first?.draft)
  })
})

describe('a mistake in a file is named with its line, and what would be right', () => {
  const change = (from: string, to: string) => web.replace(from, to)
  test.each<[string, string, RegExp]>([
    [
      'a misspelt key',
      change('  target:', '  targt:'),
      /^f\.yaml:8: `targt` is no key of `spec`\. Did you mean `target`\?/,
    ],
    [
      'a misspelt limit',
      change('maxConnections', 'maxConnection'),
      /^f\.yaml:12: .*`spec\.limits`\. Did you mean `maxConnections`/,
    ],
    ['a status', `${web}status: {}\n`, /^f\.yaml:15: `status` is what the fleet reports/],
    [
      'an id',
      change('  name: web\n', '  name: web\n  id: r-1\n'),
      /^f\.yaml:5: `id` is what the fleet reports/,
    ],
    [
      'a missing key',
      change('  listen: TCP4-LISTEN:8080,bind=127.0.0.1,fork\n', ''),
      /^f\.yaml:7: `spec\.listen` is missing/,
    ],
    [
      'another version',
      change('fleetcat/v1', 'fleetcat/v9'),
      /^f\.yaml:1: `apiVersion`.*Write `apiVersion: fleetcat\/v1`/,
    ],
    ['another kind', change('kind: Relay', 'kind: Service'), /^f\.yaml:2: `kind`.*Write `kind: Relay`/],
    ['no target', change('  target: TCP4:10.0.0.5:80\n', ''), /it has no target\. Write `targets:`/],
    ['a bad address', change('TCP4:10.0.0.5:80', 'TCP4:10.0.0.5'), /^f\.yaml:8: .*TCP4:10\.0\.0\.5/],
    ['a bad duration', change('1m30s', 'soon'), /^f\.yaml:14: idleTimeout soon: it is not a duration/],
    [
      'no time at all',
      change('1m30s', '0s'),
      /^f\.yaml:14: idleTimeout 0s: it must be longer than nothing\. Write /,
    ],
    ['a bad network', change('10.0.0.0/8', '10.0.0.0/99'), /^f\.yaml:11: network `10\.0\.0\.0\/99`/],
    ['a bad name', change('name: web', 'name: Web_1'), /^f\.yaml:4: relay name `Web_1`: a name has/],
    [
      'a bad label name',
      change('{ team: web, tier: "1" }', '\n    team: web\n    -x: y'),
      /^f\.yaml:7: label `-x`: a label name has/,
    ],
    [
      'a label that is no text',
      change('team: web', 'team: true'),
      /^f\.yaml:5: `metadata\.labels\.team` must be a text, and is `true`\. Write `team: "true"`$/,
    ],
    [
      'a label that is a list',
      change('team: web', 'team: [1]'),
      /^f\.yaml:5: .* must be a text, and is a list/,
    ],
    [
      'a network that is no list',
      change('[10.0.0.0/8]', '10.0.0.0/8'),
      /^f\.yaml:11: `spec\.limits\.allowFrom` must be a list, and is the text `10\.0\.0\.0\/8`\. Write `allowFrom: \[10\.0\.0\.0\/8\]`$/,
    ],
    [
      'one bad target of several',
      change('target: TCP4:10.0.0.5:80', 'targets:\n  - TCP4:10.0.0.5:80\n  - TCP4:10.0.0.6'),
      /^f\.yaml:10: .*TCP4:10\.0\.0\.6/,
    ],
    [
      'no targets',
      change('target: TCP4:10.0.0.5:80', 'targets: []'),
      /^f\.yaml:8: `spec\.targets` is empty\. Write/,
    ],
    [
      'a number that nothing can hold',
      change('maxConnections: 10', 'maxConnections: 9999999999'),
      /^f\.yaml:12: `spec\.limits\.maxConnections` is `9999999999`, and the highest is 4294967295/,
    ],
    [
      'agents and a selector',
      change('  agents: [edge-1]', '  agents: [edge-1]\n  selector: a=b'),
      /^f\.yaml:10: relay\/web: it names agents and a selector/,
    ],
    ['broken YAML', change('metadata:', 'metadata: ['), /^f\.yaml:\d+: it is not YAML/],
    [
      'no map at all',
      '- 1\n- 2\n',
      /^f\.yaml:1: this document must be a map, and is a list\. Each document has/,
    ],
  ])('%s', async (_, text, message) => {
    await expect(parseRelays(text, 'f.yaml')).rejects.toThrow(message)
  })
})

test('all mistakes of a file are named, in the order of its lines', async () => {
  const text = web
    .replace('name: web', 'name: Web')
    .replace('team: web', 'team: true')
    .replace('10.0.0.0/8', '10.0.0.0/99')
    .replace('1m30s', '0s')
  const found: AggregateError = await parseRelays(`${text}---\nkind: Rely\n`, 'f.yaml').then(
    () => expect.unreachable(),
    thrown => thrown,
  )
  const lines = found.errors.map(({ message }) => Number(/^f\.yaml:(\d+): /.exec(message)?.[1]))
  expect(lines).toEqual([4, 5, 11, 14, 16, 16, 16, 16])
  expect(found.message).not.toMatch(/Invalid|expected|undefined/)
})

test('each mistake is a line on stderr', async () => {
  const stdin = web.replace('name: web', 'name: Web').replace('1m30s', '0s')
  const { code, stderr } = await fleetcat(['apply', '-f', '-'], { stdin })
  expect(code).toBe(2)
  expect(stderr).toMatch(/^fleetcat: stdin:4: [^\n]*\nfleetcat: stdin:14: [^\n]*\n$/)
})

describe('files and directories', () => {
  test('a directory stands for its YAML and JSON files', async () => {
    await using dir = await temporary()
    await mkdir(join(dir.path, 'sub.yaml'), { recursive: true })
    await writeFile(join(dir.path, 'sub.yaml', 'a.yml'), web)
    await writeFile(join(dir.path, 'notes.txt'), 'not ours')
    await writeFile(join(dir.path, 'b.yaml'), web.replace('name: web', 'name: db'))
    const drafts = await readRelayFiles([join(dir.path, 'sub.yaml'), join(dir.path, 'b.yaml')])
    expect(drafts.map(({ name }) => name)).toEqual(['web', 'db'])
  })

  test('one name in two places is refused, and both places are named', async () => {
    await using dir = await temporary()
    await writeFile(join(dir.path, 'a.yaml'), web)
    await writeFile(join(dir.path, 'b.yaml'), `${web}---\n${web}`)
    await expect(readRelayFiles([join(dir.path, 'a.yaml'), join(dir.path, 'b.yaml')])).rejects.toThrow(
      /b\.yaml:4: relay\/web is at .*a\.yaml:4 already/,
    )
  })

  test('what is not there is named', async () => {
    await expect(readRelayFiles(['/nonexistent/x.yaml'])).rejects.toMatchObject({ code: 'not-found' })
  })
})

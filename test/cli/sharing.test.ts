import { describe, expect, test } from 'vitest'
import { changeItem } from '#cli/changes.ts'
import { yaml } from '#cli/output/structured.ts'
import { parseRelays } from '#cli/relay-file.ts'
import { describeRelay } from '#cli/views/described.ts'
import { asFile } from '#cli/views/file.ts'
import { relayItem } from '#cli/views/relay.ts'
import { ChangeKind, RelayView } from '#gen/fleetcat/v1/operator.ts'
import { Balance, Health } from '#gen/fleetcat/v1/relay.ts'
import { toDuration } from '#wire/duration.ts'
import { fleetcat } from './running.ts'

const app = `apiVersion: fleetcat/v1
kind: Relay
metadata:
  name: app
spec:
  listen: TCP4-LISTEN:8080,bind=127.0.0.1,fork
  targets:
    - TCP4:10.0.0.5:80
    - TCP4:10.0.0.6:80
  agents: [edge-1]
  balance: round-robin
  health:
    check: http:/healthz
    interval: 5s
    timeout: 500ms
    rise: 1
    fall: 4
`

async function viewOf(text: string) {
  const [found] = await parseRelays(text, 'f.yaml')
  return RelayView.fromPartial({ relay: { ...found!.draft, id: 'r-1', generation: 1n } })
}

describe('a file', () => {
  test('says how targets share the connections, and export writes the same', async () => {
    const [found] = await parseRelays(app, 'f.yaml')
    expect(found?.draft.spec).toMatchObject({
      balance: Balance.ROUND_ROBIN,
      health: { http: '/healthz', interval: toDuration(5_000), timeout: toDuration(500), rise: 1, fall: 4 },
    })
    const exported = await yaml(asFile(relayItem(await viewOf(app))))
    expect(exported).toContain('check: http:/healthz')
    expect((await parseRelays(exported, 'again.yaml'))[0]?.draft).toEqual(found?.draft)
  })

  test('may leave out what the defaults say', async () => {
    const plain = app.slice(0, app.indexOf('  balance'))
    const [found] = await parseRelays(`${plain}  balance: failover\n  health: {}\n`, 'f.yaml')
    expect(found?.draft.spec).toMatchObject({
      balance: Balance.UNSPECIFIED,
      health: { http: '', interval: undefined, timeout: undefined, rise: 0, fall: 0 },
    })
    expect(asFile(relayItem(await viewOf(plain))).spec).not.toHaveProperty('health')
  })

  test.each<[string, string, string, RegExp]>([
    ['a misspelt balance', 'round-robin', 'round-robbin', /^f\.yaml:11: .*Did you mean `round-robin`\?/],
    [
      'a misspelt key',
      '    interval',
      '    intervall',
      /^f\.yaml:14: `intervall` is no key of `spec\.health`\. Did you mean `interval`\?/,
    ],
    ['a check that is none', 'http:/healthz', 'ping', /^f\.yaml:13: .*Write connect, or http: and the path/],
    ['a path with a space', 'http:/healthz', 'http:/a b', /^f\.yaml:13: `spec\.health\.check`: its path/],
    ['a pace without a unit', '5s', '"5"', /^f\.yaml:14: .*Write 5s for seconds/],
    ['a pace without rest', '500ms', '5ms', /^f\.yaml:15: `spec\.health\.timeout`: it is shorter than 100ms/],
    ['a count that is none', 'rise: 1', 'rise: 0', /^f\.yaml:16: .*above 0/],
    ['a target that cannot be checked', 'TCP4:10.0.0.6:80', 'UDP4:10.0.0.6:80', /^f\.yaml:9: .*UDP4/],
  ])('with %s is refused at its line', async (_, from, to, message) => {
    expect(app).toContain(from)
    const thrown = await parseRelays(app.replace(from, to), 'f.yaml').then(
      () => expect.unreachable(),
      error => error,
    )
    expect((thrown as AggregateError).errors?.[0]?.message ?? thrown.message).toMatch(message)
  })
})

test('describe shows the settings, and a table of the targets for each agent', async () => {
  const view = await viewOf(app)
  const since = new Date(Date.now() - 90_000)
  view.agents = RelayView.fromPartial({
    agents: [
      {
        agent: 'edge-1',
        report: {
          targets: [
            { address: 'TCP4:10.0.0.5:80', health: Health.UP, since, connections: 2, total: 12n },
            {
              address: 'TCP4:10.0.0.6:80',
              health: Health.DOWN,
              since,
              failures: 3n,
              problem: { code: 'refused', what: 'the check', why: 'nobody there' },
            },
          ],
        },
      },
    ],
  }).agents
  const item = relayItem(view)
  expect(item.status.agents[0]?.targets).toEqual([
    {
      target: 'TCP4:10.0.0.5:80',
      state: 'up',
      since: since.toISOString(),
      connections: 2,
      total: 12,
      failures: 0,
      error: null,
    },
    {
      target: 'TCP4:10.0.0.6:80',
      state: 'down',
      since: since.toISOString(),
      connections: 0,
      total: 0,
      failures: 3,
      error: 'the check: nobody there',
    },
  ])
  const shown = describeRelay(item)
  expect(shown).toMatch(/Balance\n {2}balance: +round-robin\n {2}health\.check: +http:\/healthz\n/)
  expect(shown).toMatch(/Targets of edge-1\n {2}TARGET +STATE +SINCE +CONNS +TOTAL +FAILED +ERROR\n/)
  expect(shown).toMatch(/TCP4:10\.0\.0\.6:80 +down +\S+ +0 +0 +3 +the check: nobody there/)
})

test('diff shows each setting', async () => {
  const change = changeItem({
    kind: ChangeKind.UPDATED,
    name: 'app',
    before: (await viewOf(app)).relay,
    after: (await viewOf(app.replace('round-robin', 'failover').replace('5s', '7s'))).relay,
    revocationId: '',
  })
  expect(change.fields).toEqual([
    { field: 'spec.balance', before: 'round-robin', after: null },
    { field: 'spec.health.interval', before: '5s', after: '7s' },
  ])
})

describe('create refuses', () => {
  test.each<[string[], RegExp]>([
    [['--balance', 'least-connection'], /Did you mean least-connections\?/],
    [['--health', 'tcp'], /Write connect, or http: and the path/],
    [['--health-interval', '5s'], /--health-interval has no checks to be about\. Add --health connect/],
    [['--health', 'connect', '--health-timeout', '5'], /Write 5s for seconds/],
    [['--health', 'connect', '--health-interval', '1ms'], /shorter than 100ms/],
    [['--health', 'connect', '--health-fall', '0'], /--health-fall 0: it is not a whole number above 0/],
    [['ECHO', '--health', 'connect'], /that ECHO can be opened does not show/],
  ])('%j', async (words, message) => {
    const { code, stderr } = await fleetcat(['create', 'a', 'TCP4-LISTEN:1,fork', 'TCP4:h:1', ...words])
    expect(stderr).toMatch(message)
    expect(stderr).toMatch(/^fleetcat[^\n]*\n$/)
    expect(code).toBe(2)
  })
})

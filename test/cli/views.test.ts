import { describe, expect, test } from 'vitest'
import { changeItem, diffText } from '#cli/changes.ts'
import { table } from '#cli/output/table.ts'
import type { Given, Terms } from '#cli/revoking.ts'
import { agentItem, agents } from '#cli/views/agent.ts'
import { connectionItem } from '#cli/views/connection.ts'
import { describeRelay } from '#cli/views/described.ts'
import { describeRevocation } from '#cli/views/described-revocation.ts'
import { relayItem, relays } from '#cli/views/relay.ts'
import { revocationItem, verdictText } from '#cli/views/revocation.ts'
import { type PreviewItem, previewItem, previewText } from '#cli/views/revocation-preview.ts'
import { tokenItem } from '#cli/views/token.ts'
import {
  AgentState,
  AgentView,
  ChangeKind,
  ConnectionView,
  RelayView,
  RevocationView,
  TokenView,
} from '#gen/fleetcat/v1/operator.ts'
import { Relay, RelayState, VerdictKind } from '#gen/fleetcat/v1/relay.ts'
import { toDuration } from '#wire/duration.ts'

const at = new Date('2026-01-02T03:04:05.678Z')
const minuteLater = at.getTime() + 60_000
const style = { wide: false, headers: true, paint: (text: string) => text, now: minuteLater }

const relay = Relay.fromPartial({
  name: 'web',
  id: 'r-1',
  generation: 2n,
  labels: { team: 'web' },
  createdAt: at,
  createdBy: 'ana',
  spec: {
    listen: 'TCP4-LISTEN:8080,bind=127.0.0.1,fork',
    targets: ['TCP4:10.0.0.5:80', 'TCP4:10.0.0.6:80'],
    agents: ['edge-1', 'edge-2'],
    limits: { maxConnections: 10, idleTimeout: toDuration(90_000) },
  },
})

const view = RelayView.fromPartial({
  relay,
  state: RelayState.REJECTED,
  connections: 3,
  agents: [
    {
      agent: 'edge-1',
      state: RelayState.READY,
      connections: 3,
      report: {
        generation: 2n,
        state: RelayState.READY,
        local: ['127.0.0.1:8080'],
        trace: [{ at, state: 'ready' }],
        refusals: { rate: 4n },
      },
    },
    {
      agent: 'edge-2',
      state: RelayState.REJECTED,
      report: {
        generation: 2n,
        problem: { code: 'denied', what: 'relay/web on edge-2 rejected', why: 'no', fix: 'Ask' },
      },
    },
  ],
})

describe('a relay', () => {
  test('has the shape that scripts rely on', () => {
    expect(relayItem(view)).toMatchObject({
      kind: 'Relay',
      metadata: {
        name: 'web',
        id: 'r-1',
        generation: 2,
        labels: { team: 'web' },
        createdAt: '2026-01-02T03:04:05.678Z',
        createdBy: 'ana',
      },
      spec: {
        listen: 'TCP4-LISTEN:8080,bind=127.0.0.1,fork',
        targets: ['TCP4:10.0.0.5:80', 'TCP4:10.0.0.6:80'],
        agents: ['edge-1', 'edge-2'],
        selector: '',
        limits: { maxConnections: 10, idleTimeout: '1m30s' },
      },
      status: {
        state: 'rejected',
        connections: 3,
        expiresAt: null,
        agents: [
          {
            agent: 'edge-1',
            state: 'ready',
            generation: 2,
            local: ['127.0.0.1:8080'],
            connections: 3,
            error: null,
          },
          { agent: 'edge-2', state: 'rejected', error: 'relay/web on edge-2 rejected: no. Ask' },
        ],
      },
    })
  })

  test('is one line of the list', () => {
    const [title, row] = table([relayItem(view)], relays.columns, style).split('\n')
    expect(title?.split(/ +/)).toEqual([
      'NAME',
      'AGENTS',
      'LISTEN',
      'TARGET',
      'CONNS',
      'EXPIRES',
      'STATE',
      'AGE',
    ])
    expect(row).toMatch(/^web +1\/2 .*fork +TCP4:10\.0\.0\.5:80 TCP4:10\.0\.0\.6:80 +3 +- +rejected +1m$/)
  })

  test('is described with what each agent says', () => {
    const text = describeRelay(relayItem(view))
    expect(text).toContain('On edge-2\n')
    expect(text).toMatch(/error: +relay\/web on edge-2 rejected: no\. Ask/)
    expect(text).toMatch(/trace: +ready 2026-01-02/)
    expect(text).toMatch(/refused: +4 rate/)
    expect(text).toMatch(/idleTimeout: +1m30s/)
  })
})

describe('an agent', () => {
  const unreachable = agentItem(
    AgentView.fromPartial({
      name: 'edge-1',
      labels: { site: 'paris' },
      state: AgentState.UNREACHABLE,
      lastHeardAt: at,
      certificateExpiresAt: new Date(minuteLater + 3_600_000),
      version: '0.1.0',
    }),
  )

  test('says in its state for how long it has not been heard, and only for people', () => {
    expect(unreachable.status.state).toBe('unreachable')
    const [title, row] = table([unreachable], agents.columns, style).split('\n')
    expect(title?.split(/ +/)).toEqual([
      'NAME',
      'LABELS',
      'STATE',
      'RELAYS',
      'CONNS',
      'VERSION',
      'CERT-EXPIRES',
    ])
    expect(row).toMatch(/^edge-1 +site=paris +unreachable for 1m +0 +0 +0\.1\.0 +1h$/)
  })
})

test('a connection has the fields that scripts rely on', () => {
  const connection = {
    id: 'c-1',
    source: '127.0.0.1:5',
    target: '10.0.0.5:80',
    openedAt: at,
    bytesIn: 5n,
    bytesOut: 2n ** 40n,
  }
  expect(
    connectionItem(
      ConnectionView.fromPartial({
        connection: { ...connection, idle: toDuration(1_500) },
        agent: 'a',
        relay: 'web',
      }),
    ),
  ).toEqual({
    kind: 'Connection',
    id: 'c-1',
    relay: 'web',
    agent: 'a',
    source: '127.0.0.1:5',
    target: '10.0.0.5:80',
    openedAt: '2026-01-02T03:04:05.678Z',
    idleMs: 1_500,
    bytesIn: 5,
    bytesOut: 2 ** 40,
    tlsIdentity: '',
  })
})

describe('a revocation', () => {
  const item = revocationItem(
    RevocationView.fromPartial({
      revocation: { id: 'v-1', target: 'relay/web', at, by: 'ana', reason: 'moved' },
      verdicts: [
        {
          agent: 'a',
          kind: VerdictKind.CUT,
          receipt: { listenersClosed: 1, connectionsCut: 2, took: toDuration(4.2) },
        },
        { agent: 'b', kind: VerdictKind.FENCED, fencedBy: at },
        { agent: 'c', kind: VerdictKind.REFUSED, problem: { code: 'internal', what: 'not cut', why: 'why' } },
        { agent: 'd', kind: VerdictKind.PENDING },
      ],
    }),
  )

  test('has one verdict for each agent', () => {
    expect(item).toMatchObject({ id: 'v-1', target: 'relay/web', by: 'ana', reason: 'moved' })
    expect(item.receipts[0]).toEqual({
      agent: 'a',
      verdict: 'cut',
      listenersClosed: 1,
      connectionsCut: 2,
      ms: 4,
      fencedBy: null,
      error: null,
      warning: null,
    })
    expect(item.receipts.map(({ verdict }) => verdict)).toEqual(['cut', 'fenced', 'refused', 'pending'])
    expect(item.receipts[1]?.fencedBy).toBe('2026-01-02T03:04:05.678Z')
  })

  test('says each in words', () => {
    expect(item.receipts.map(verdictText)).toEqual([
      'cut (2 connections, 1 listener, 4 ms)',
      expect.stringMatching(/^fenced since \d\d:\d\d:05$/),
      'refused: not cut: why',
      'pending',
    ])
    const later = new Date(Date.now() + 3_600_000)
    const fenced = { ...item.receipts[1]!, fencedBy: later.toISOString() }
    expect(verdictText(fenced)).toMatch(/^fenced by \d\d:\d\d:\d\d$/)
  })
})

describe('what would be revoked', () => {
  const at2 = new Date(Date.now() + 3_600_000)
  const planned = (target: string, agents: readonly string[], connections = 0, more: Partial<Given> = {}) =>
    previewItem({
      unchanged: false,
      connections,
      item: revocationItem(
        RevocationView.fromPartial({
          revocation: { id: 'v-1', target, at, by: 'ana' },
          verdicts: agents.map(agent => ({ agent, kind: VerdictKind.PENDING })),
        }),
      ),
      ...more,
    })

  test('is a sentence for each target', () => {
    const text = (item: PreviewItem, terms: Terms = {}) => previewText([item], terms).trimEnd()
    expect(text(planned('relay/web', ['a', 'b'], 3))).toBe(
      'relay/web would be revoked on a, b, cutting 3 connections',
    )
    expect(text(planned('relay/web', []), { lockMs: 86_400_000 })).toBe(
      'relay/web would be revoked on no agent, cutting 0 connections, and locked for 1d',
    )
    expect(text(planned('relay/web', ['a'], 0, { unchanged: true }))).toBe('relay/web is revoked already')
    expect(text(planned('operator/ann', []))).toBe(
      'operator/ann would be revoked: no certificate of theirs is let in any more',
    )
    const source = planned('source/10.0.0.0/8', ['a', 'b', 'c', 'd', 'e', 'f', 'g'], 1)
    expect(text(source)).toBe(
      'source/10.0.0.0/8 would be shut out of every relay on a, b, c, d and 3 more, cutting 1 connection, until it is lifted',
    )
    const narrow = { ...source, relays: ['web'], except: ['10.9.0.0/16'] }
    expect(text(narrow, { lockMs: 3_600_000 })).toBe(
      'source/10.0.0.0/8 would be shut out of relay/web, but for 10.9.0.0/16, on a, b, c, d and 3 more, cutting 1 connection, for 1h',
    )
    const away = {
      ...planned('relay/web', ['a', 'b']),
      outOfReach: [{ agent: 'b', fencedBy: at2.toISOString() }],
    }
    expect(text(away)).toMatch(/, cutting 0 connections; b is out of reach, and lets go by \d\d:\d\d:\d\d$/)
  })

  test('is summed up when there is much of it', () => {
    const items = Array.from({ length: 1_000 }, (_, i) => planned(`relay/r${i}`, [`a${i % 7}`], i))
    const lines = previewText(items, {}).split('\n').slice(0, -1)
    expect(lines).toEqual([
      '1000 relays would be revoked on 7 agents, cutting 499500 connections',
      '  relay/r999  999 connections',
      '  relay/r998  998 connections',
      '  relay/r997  997 connections',
      '  relay/r996  996 connections',
      '  relay/r995  995 connections',
      '  … 995 more; `--dry-run -o name` shows all',
    ])
  })
})

test('a revocation is described with all that it holds', () => {
  const view = RevocationView.fromPartial({
    revocation: {
      id: 'v-1',
      target: 'source/10.0.0.0/8',
      at,
      by: 'ana',
      reason: 'a scan',
      except: ['10.9.0.0/16'],
    },
    verdicts: [{ agent: 'a', kind: VerdictKind.CUT, receipt: { listenersClosed: 0, connectionsCut: 2 } }],
    relays: ['web', 'api'],
  })
  const text = describeRevocation(revocationItem(view))
  for (const line of [
    /^Target: +source\/10\.0\.0\.0\/8$/m,
    /^State: +active$/m,
    /^Revoked: +2026-01-02T03:04:05.678Z \(.* ago\) by ana$/m,
    /^Reason: +a scan$/m,
    /^In force: +until it is lifted: fleetcat lift v-1$/m,
    /^Relays: +web, api$/m,
    /^Except: +10\.9\.0\.0\/16$/m,
    /^Cut: +2 connections on 1 agent$/m,
    /^Verdicts\n {2}AGENT +VERDICT\n {2}a +cut \(2 connections, 0 listeners\)$/m,
  ])
    expect(text).toMatch(line)
  const lifted = {
    ...revocationItem(view),
    state: 'lifted',
    liftedAt: view.revocation!.at!.toISOString(),
    liftedBy: 'bob',
  }
  expect(describeRevocation(lifted)).toMatch(/^Lifted: .* by bob$/m)
  expect(describeRevocation(lifted)).not.toContain('In force')
})

test.each([3_600_000, -3_600_000])(
  'a fence is told by the clock of the reader, though that of the controller is %d ms off',
  offMs => {
    const clock = new Date(Date.now() + offMs)
    const fencedBy = new Date(clock.getTime() + 20_000)
    const verdicts = [{ agent: 'b', kind: VerdictKind.FENCED, fencedBy }]
    const item = revocationItem(RevocationView.fromPartial({ verdicts, clock }))
    const left = Date.parse(item.receipts[0]!.fencedBy!) - Date.now()
    expect(left).toBeGreaterThan(0)
    expect(left).toBeLessThanOrEqual(20_000)
  },
)

test('a token is ready until it is used up, revoked or too old', () => {
  const token = (more: object) =>
    tokenItem(TokenView.fromPartial({ uses: 1, expiresAt: at, ...more }), at.getTime() - 1)
  expect(token({}).state).toBe('ready')
  expect(token({ used: 1 }).state).toBe('done')
  expect(token({ revoked: true }).state).toBe('revoked')
  expect(token({ expiresAt: new Date(0) }).state).toBe('expired')
})

describe('a difference', () => {
  const other = Relay.fromPartial({
    ...relay,
    labels: {},
    spec: { ...relay.spec!, targets: ['TCP4:10.0.0.7:80'] },
  })
  const text = (change: object) =>
    diffText(
      [
        changeItem({
          name: 'web',
          revocationId: '',
          before: undefined,
          after: undefined,
          kind: ChangeKind.UNCHANGED,
          ...change,
        }),
      ],
      t => t,
    )

  test('shows each field that changes, before and after', () => {
    expect(text({ kind: ChangeKind.UPDATED, before: relay, after: other })).toBe(
      [
        'relay/web would change',
        '  - spec.targets: TCP4:10.0.0.5:80, TCP4:10.0.0.6:80',
        '  + spec.targets: TCP4:10.0.0.7:80',
        '  - metadata.labels.team: web',
        '',
      ].join('\n'),
    )
  })

  test('shows all of what comes and goes, and nothing of what stays', () => {
    expect(text({ kind: ChangeKind.CREATED, after: other })).toMatch(
      /^relay\/web would be created\n {2}\+ spec\.listen/,
    )
    expect(text({ kind: ChangeKind.PRUNED, before: other, after: other })).toMatch(
      /would be pruned\n {2}- spec\.listen/,
    )
    expect(text({ before: relay, after: relay })).toBe('')
  })
})

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { probeBoard } from '#cli/probe-board.ts'
import { exitCodeFor } from '#cli/probing.ts'
import { pending, pendingItem } from '#cli/views/probe.ts'
import { ProbeResult, ProbeVerdict } from '#gen/fleetcat/v1/relay.ts'
import { joinAgent, mint, openController, type TestController } from '#test/resources/fleet.ts'
import { openFolder } from '#test/resources/folder.ts'
import type { AgentStream, ScriptedAgent } from '#test/resources/scripted-agent.ts'
import { until } from '#test/resources/until.ts'
import { toDuration } from '#wire/duration.ts'
import { features } from '#wire/features.ts'
import { type Answer, fleetcat, start } from './running.ts'

const target = 'TCP4:10.0.0.9:5432'
const row = (agent: string, verdict: string) => ({ ...pendingItem(target, agent), at: '2026-11-29', verdict })

describe('the exit code of a round', () => {
  test.each([
    [['open', 'open'], 0],
    [['open', 'refused'], 1],
    [['denied'], 1],
    [['failed', 'silent', 'tls-error', 'timed-out', 'unresolved'], 1],
    [['open', 'unreachable'], 6],
    [['refused', 'unsupported'], 6],
    [['open', 'a word of a newer controller'], 1],
  ])('of %j is %i', (verdicts, code) => {
    expect(exitCodeFor(verdicts.map(verdict => row('edge-1', verdict)))).toBe(code)
  })
})

describe('rows on a screen', () => {
  const style = { wide: false, headers: true, columns: 80, paint: (text: string) => text, now: 0 }
  const lines = (text: string) => text.split('\n').slice(0, -1)
  const many = (n: number, verdict: string) =>
    Array.from({ length: n }, (_, i) => row(`${verdict}-${i}`, verdict))

  test('are all shown where there is room for them', () => {
    const items = [row('edge-1', 'timed-out'), row('edge-2', 'denied'), row('edge-3', pending)]
    expect(lines(probeBoard(items, { ...style, room: 4 }))).toEqual([
      'AGENT   ADDRESS  CONNECT-MS  TLS-MS  BYTE-MS  VERDICT            WHY',
      'edge-1  -                 -       -        -  timed out          -',
      'edge-2  -                 -       -        -  denied by ceiling  -',
      'edge-3  -                 -       -        -  pending            -',
    ])
  })

  test('are counted where there is not, and those that are not open come first', () => {
    const items = [...many(900, 'open'), ...many(20, 'refused'), ...many(80, pending)]
    const shown = lines(probeBoard(items, { ...style, room: 10 }))
    expect(shown).toHaveLength(10)
    expect(shown[0]).toMatch(/^\[█+░+\] 920 of 1000 agents$/)
    expect(shown[1]).toBe('900 open, 20 refused, 80 pending')
    expect(shown[3]).toMatch(/^refused-0 /)
    expect(shown.at(-1)).toBe('… 14 more')
    const allOpen = lines(probeBoard(many(100, 'open'), { ...style, room: 10 }))
    expect(allOpen).toEqual([expect.stringContaining('100 of 100 agents'), '100 open'])
  })
})

describe('between a controller and agents whose words the test writes', () => {
  let held: AsyncDisposableStack
  let controller: TestController
  let edge: ScriptedAgent
  let home: string
  beforeAll(async () => {
    held = new AsyncDisposableStack()
    home = held.use(await openFolder()).path
    controller = held.use(await openController())
    edge = await joinAgent(controller, { name: 'edge-1' })
    const token = await mint(controller, { kind: 'operator', name: 'ann', role: 'operator' })
    expect((await fleetcat(['login', token], { home })).code).toBe(0)
  })
  afterAll(() => held.disposeAsync())

  const words = ['probe', target, '--on', 'edge-1', '--timeout', '100ms']
  const settle = () => edge.settle({ features: [...features] })

  async function said(stream: AgentStream, result: Partial<ProbeResult>, ...more: string[]): Promise<Answer> {
    const answering = stream.await('probe').then(({ probeId }) => {
      const value = { probeId, result: ProbeResult.fromPartial(result) }
      stream.send({ $case: 'probe', value })
    })
    const [answer] = await Promise.all([fleetcat([...words, ...more], { home }), answering])
    return answer
  }

  test('what an agent says can neither recolour, reorder nor break what is shown', async () => {
    await using stream = await settle()
    const hostile = '\u001b[31mred\u001b]0;title\u0007 \u202eevil\u200b\r\n fake-1  10.0.0.9  open\u009b2J'
    const result = {
      verdict: ProbeVerdict.FAILED,
      ip: hostile,
      connect: toDuration(1.26),
      problem: { code: hostile, what: hostile, why: hostile, fix: hostile },
    }
    const table = await said(stream, result)
    expect(table.code).toBe(1)
    expect(table.stdout.split('\n')).toHaveLength(3)
    for (const output of ['json', 'jsonl', 'yaml', 'wide', 'name', 'table']) {
      const { stdout } = await said(stream, result, '-o', output)
      expect(stdout).not.toMatch(/[\p{Cf}]|(?!\n)\p{Cc}/u)
    }
    const { stdout } = await said(stream, result, '-o', 'json')
    expect(JSON.parse(stdout).items[0]).toMatchObject({ verdict: 'failed', ip: hostile, connectMs: 1.3 })
  })

  test('an agent of an older version is unsupported, with what to do, and exit 6', async () => {
    await using _ = await edge.settle({ version: '0.0.1', features: ['live-dump'] })
    const { code, stdout } = await fleetcat(words, { home })
    expect(code).toBe(6)
    expect(stdout).toMatch(/edge-1 .* unsupported +the agent there runs version 0\.0\.1.*Update fleetcat/)
  })

  test('a repeated probe outlives a controller that restarts, and says what it missed', async () => {
    await using rounds = start([...words, '--every', '1s', '-o', 'jsonl'], { home })
    let shown = ''
    rounds.child.stdout.on('data', text => {
      shown += text
    })
    await until('there was a round', () => shown.includes('"verdict":"unreachable"'))
    const { running } = controller
    await running.close()
    await until('it is told', () => rounds.stderr() !== '')
    await controller.restart()
    await using stream = await settle()
    const { probeId } = await stream.await('probe')
    const value = { probeId, result: ProbeResult.fromPartial({ verdict: ProbeVerdict.OPEN }) }
    stream.send({ $case: 'probe', value })
    await until('it goes on', () => shown.includes('"verdict":"open"'))
    expect(await rounds.stop('SIGINT')).toBe(130)
  }, 30_000)

  test('one that is repeated in a table, not at a terminal, has an empty line between two rounds', async () => {
    await using rounds = start([...words, '--every', '1s'], { home })
    let shown = ''
    rounds.child.stdout.on('data', text => {
      shown += text
    })
    await until('there were two', () => shown.split('AGENT').length > 2)
    expect(shown).toMatch(/^AGENT[^\n]*\nedge-1[^\n]*\n\nAGENT[^\n]*\nedge-1[^\n]*\n/)
  }, 30_000)
})

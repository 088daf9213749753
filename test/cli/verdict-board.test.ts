import { describe, expect, test } from 'vitest'
import { bar } from '#cli/output/bar.ts'
import { board, type Order } from '#cli/verdict-board.ts'
import type { ReceiptItem } from '#cli/views/revocation.ts'

const plain = (text: string) => text
const style = { room: 23, columns: 80, paint: plain, now: 0 }

const receipt = (agent: string, verdict: string, more: Partial<ReceiptItem> = {}): ReceiptItem => ({
  agent,
  verdict,
  listenersClosed: verdict === 'cut' ? 1 : 0,
  connectionsCut: verdict === 'cut' ? 2 : 0,
  ms: verdict === 'cut' ? 4 : null,
  fencedBy: null,
  error: null,
  warning: null,
  ...more,
})

const order = (target: string, receipts: readonly ReceiptItem[], overdue = false): Order => ({
  said: 'revoked',
  overdue,
  revocation: {
    kind: 'Revocation',
    id: `v-${target.split('/')[1]}`,
    target,
    at: null,
    by: 'ana',
    reason: '',
    state: 'done',
    lockUntil: null,
    liftedAt: null,
    liftedBy: null,
    relays: [],
    except: [],
    durable: true,
    receipts,
  },
})

const many = (n: number, verdict: string) =>
  Array.from({ length: n }, (_, i) => receipt(`${verdict}-${i}`, verdict))

const lines = (text: string) => text.split('\n').slice(0, -1)

describe('verdicts for which there is room', () => {
  test('have a row for each agent of each order', () => {
    const orders = [
      order('relay/web', [receipt('edge-1', 'cut'), receipt('edge-2', 'pending')]),
      order('relay/api', [receipt('edge-1', 'refused', { error: 'not cut: why' })], true),
    ]
    expect(lines(board(orders, style))).toEqual([
      'relay/web revoked (v-web)',
      'AGENT   VERDICT',
      'edge-1  cut (2 connections, 1 listener, 4 ms)',
      'edge-2  pending',
      'relay/api revoked (v-api)',
      'AGENT   VERDICT',
      'edge-1  refused: not cut: why',
      'time is over; see `fleetcat wait relay/api --for revoked`',
    ])
  })
})

describe('verdicts for which there is no room', () => {
  test('are counted, and only those are named that somebody has to see to', () => {
    const receipts = [
      ...many(868, 'cut'),
      receipt('edge-7', 'fenced'),
      receipt('edge-8', 'refused', { error: 'not cut' }),
      receipt('edge-9', 'cut', { warning: 'not on its disk yet' }),
      ...many(129, 'pending'),
    ]
    expect(lines(board([order('relay/web', receipts)], style))).toEqual([
      'relay/web revoked (v-web)',
      `[${'█'.repeat(45)}${'░'.repeat(5)}] 871 of 1000 agents`,
      '869 cut (1738 connections), 1 fenced, 1 refused, 129 pending',
      'AGENT   VERDICT',
      'edge-8  refused: not cut',
      'edge-9  cut (2 connections, 1 listener, 4 ms); not on its disk yet',
      'edge-7  fenced',
    ])
  })

  test('name the last that are to answer', () => {
    const shown = board([order('relay/web', [...many(997, 'cut'), ...many(3, 'pending')])], style)
    expect(lines(shown).slice(3)).toEqual([
      'AGENT      VERDICT',
      'pending-0  pending',
      'pending-1  pending',
      'pending-2  pending',
    ])
  })

  test.each([4, 8, 23, 60])('are never higher than %d lines', room => {
    const orders = [
      order('relay/web', many(300, 'fenced'), true),
      order('relay/api', [...many(50, 'pending'), ...many(50, 'refused')], true),
      order('relay/db', many(4, 'cut')),
    ]
    const shown = lines(board(orders, { ...style, room }))
    expect(shown.length).toBeLessThanOrEqual(Math.max(7, room))
    expect(shown[0]).toBe('3 targets revoked')
    expect(shown.at(-1)).toBe('time is over for 2 of them; see `fleetcat revocations`')
    expect(shown.at(-2)).toMatch(/^… \d+ more; `fleetcat revocations -o wide` shows all$/)
  })

  test('of several orders say which target each row is about', () => {
    const orders = [order('relay/web', many(40, 'cut')), order('relay/api', [receipt('edge-1', 'fenced')])]
    expect(lines(board(orders, style)).slice(3)).toEqual([
      'TARGET     AGENT   VERDICT',
      'relay/api  edge-1  fenced',
    ])
  })
})

describe('a bar', () => {
  const of = (...shares: [number, ...number[]]) => {
    const total = shares[0]
    const cells = shares.slice(1).map(n => ({ n, colour: undefined }))
    return bar(cells, total, 10, plain)
  }

  test('fills as far as it is done, and wholly only when all is', () => {
    expect(of(100, 0)).toBe('[░░░░░░░░░░]')
    expect(of(100, 50)).toBe('[█████░░░░░]')
    expect(of(1_000, 999)).toBe('[█████████░]')
    expect(of(1_000, 1_000)).toBe('[██████████]')
    expect(of(7, 3, 4)).toBe('[██████████]')
  })

  test('shows what there is one of among many', () => {
    const marked = (text: string, colour: string | undefined) =>
      colour === 'red' ? 'r'.repeat(text.length) : text
    const shares = [
      { n: 999, colour: 'green' as const },
      { n: 1, colour: 'red' as const },
    ]
    expect(bar(shares, 1_000, 10, marked)).toBe('[█████████r]')
  })
})

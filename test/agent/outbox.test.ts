import { expect, test } from 'vitest'
import { openOutbox } from '#agent/outbox.ts'
import { toReport } from '#agent/report.ts'
import type { AttachRequest } from '#gen/fleetcat/v1/agent.ts'
import type { Receipt } from '#gen/fleetcat/v1/relay.ts'

const receipt = (revocationId: string): Receipt => ({
  revocationId,
  listenersClosed: 1,
  connectionsCut: 0,
  took: undefined,
  at: undefined,
  problem: undefined,
  warning: undefined,
})

const kinds = (sent: AttachRequest[]) => sent.map(({ message }) => message?.$case)

function setting(relays: string[]) {
  let restarts = 0
  let reads = 0
  const outbox = openOutbox({
    relays: () => relays,
    report(relayId) {
      reads++
      return toReport({
        relayId,
        generation: 1n,
        running: undefined,
        refused: undefined,
        opensAt: undefined,
        refusals: new Map(),
      })
    },
    connections: { take: () => undefined, restart: () => void restarts++ },
    banned: () => [],
    remarks: { take: () => undefined },
    askLease: () => 1n,
  })
  return { outbox, restarts: () => restarts, reads: () => reads }
}

/** A writer that takes `room` messages and is then full. */
function writer(room = Number.POSITIVE_INFINITY) {
  const sent: AttachRequest[] = []
  return { sent, room, write: (message: AttachRequest) => sent.push(message) < room }
}

const turn = () => new Promise<void>(resolve => setImmediate(resolve))

test('a new stream is asked for the lease, hears of every relay, and gets a snapshot of the connections', () => {
  const { outbox, restarts } = setting(['r-1', 'r-2'])
  outbox.applied(7n)
  const stream = writer()
  outbox.attach(stream)
  expect(kinds(stream.sent)).toEqual(['leaseRequest', 'reports', 'applied'])
  expect(restarts()).toBe(1)
})

test('a relay that changes a hundred times in one turn is reported once', async () => {
  const { outbox, reads } = setting([])
  const stream = writer()
  outbox.attach(stream)
  for (let i = 0; i < 100; i++) outbox.relayChanged('r-1')
  await turn()
  expect(kinds(stream.sent)).toEqual(['leaseRequest', 'reports'])
  expect(reads()).toBe(1)
})

test('while the stream is full nothing is written, and later each relay is told once, as it is then', async () => {
  const { outbox, reads } = setting([])
  const stream = writer(1)
  outbox.attach(stream)
  expect(kinds(stream.sent)).toEqual(['leaseRequest'])
  for (let i = 0; i < 1_000; i++) outbox.relayChanged(`r-${i % 3}`)
  outbox.receipt(receipt('v-1'))
  await turn()
  expect(stream.sent).toHaveLength(1)
  expect(reads()).toBe(0)
  for (let i = 0; i < 2; i++) outbox.drained(stream)
  expect(kinds(stream.sent)).toEqual(['leaseRequest', 'receipt', 'reports'])
  expect(reads()).toBe(3)
})

test('receipts overtake everything else', async () => {
  const { outbox } = setting([])
  const stream = writer()
  outbox.attach(stream)
  stream.sent.splice(0)
  outbox.relayChanged('r-1')
  outbox.applied(3n)
  outbox.receipt(receipt('v-1'))
  await turn()
  expect(kinds(stream.sent)).toEqual(['receipt', 'reports', 'applied'])
})

test('a receipt of the time without a stream is delivered to the next one', () => {
  const { outbox } = setting([])
  outbox.receipt(receipt('v-1'))
  const stream = writer()
  outbox.attach(stream)
  expect(kinds(stream.sent)).toEqual(['receipt', 'leaseRequest'])
})

test('the old stream has no say once a new one took over', async () => {
  const { outbox } = setting([])
  const [old, next] = [writer(1), writer()]
  outbox.attach(old)
  outbox.attach(next)
  outbox.drained(old)
  outbox.detach(old)
  outbox.relayChanged('r-1')
  await turn()
  expect(kinds(old.sent)).toEqual(['leaseRequest'])
  expect(kinds(next.sent)).toEqual(['leaseRequest', 'reports'])
})

test('answers to probes go out at once, and of those that nobody reads the oldest are let go', () => {
  const { outbox } = setting([])
  const answer = (n: number) => ({ probeId: `p-${n}`, result: undefined })
  for (let n = 0; n < 150; n++) outbox.probed(answer(n))
  const stream = writer()
  outbox.attach(stream)
  const ids = () =>
    stream.sent.flatMap(({ message }) => (message?.$case === 'probe' ? [message.value.probeId] : []))
  expect(ids()).toHaveLength(100)
  expect(ids()[0]).toBe('p-50')
  outbox.probed(answer(150))
  expect(ids().at(-1)).toBe('p-150')
})

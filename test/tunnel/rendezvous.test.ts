import { setTimeout as after } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { openRendezvous } from '#tunnel/rendezvous.ts'
import { newTicket } from '#tunnel/ticket.ts'
import { receive, writeUntilStalled } from '../resources/streams.ts'
import { until } from '../resources/until.ts'
import { openWire } from '../tunnel/links.ts'

function meetingOf(ticket = newTicket()) {
  const told: string[] = []
  return { told, ticket, joined: () => void told.push('joined'), over: () => void told.push('over') }
}

for (const order of ['initiator first', 'answering first']) {
  test(`the ends of a tunnel meet, ${order}, and what went through is counted`, async () => {
    using rendezvous = openRendezvous()
    await using left = await openWire()
    await using right = await openWire()
    const meeting = meetingOf()
    rendezvous.expect(meeting, 5_000)
    left.here.write('hello')
    const come = [
      () => rendezvous.initiator(meeting.ticket, { socket: left.there }),
      () => rendezvous.answering(meeting.ticket, { socket: right.there }),
    ]
    if (order === 'answering first') come.reverse()
    for (const each of come) expect(each()).toBeUndefined()
    expect(rendezvous.counts).toMatchObject({ live: 1, waiting: 0 })
    right.here.write('back')
    left.here.end()
    expect(String(await receive(right.here))).toBe('hello')
    await until('it is over', () => meeting.told.includes('over'))
    expect(meeting.told).toEqual(['joined', 'over'])
    expect(rendezvous.counts).toMatchObject({ live: 0, waiting: 0 })
    expect(rendezvous.counts.bytes).toBeGreaterThanOrEqual(5)
  })
}

test('of fifty at a time with one ticket one is let in, and nobody after the tunnel is over', async () => {
  using rendezvous = openRendezvous()
  const meeting = meetingOf()
  rendezvous.expect(meeting, 5_000)
  await using held = new AsyncDisposableStack()
  const wires = await Promise.all(Array.from({ length: 50 }, async () => held.use(await openWire())))
  const unmet = wires.map(({ there }) => rendezvous.initiator(meeting.ticket, { socket: there }))
  expect(unmet.filter(cause => cause === undefined)).toHaveLength(1)
  expect(unmet.filter(cause => cause === 'used-ticket')).toHaveLength(49)
  rendezvous.cut(meeting.ticket)
  expect(rendezvous.initiator(meeting.ticket, { socket: wires[1]!.there })).toBe('unknown-ticket')
  expect(rendezvous.answering(newTicket(), { socket: wires[1]!.there })).toBe('unknown-ticket')
  await until('the first is cut', () => wires[0]!.there.closed)
  expect(meeting.told).toEqual(['over'])
})

test('a ticket that nobody uses, and one whose initiator is reset while it waits, are used up', async () => {
  using rendezvous = openRendezvous()
  const [late, left] = [meetingOf(), meetingOf()]
  rendezvous.expect(late, 30)
  rendezvous.expect(left, 5_000)
  await using wire = await openWire()
  rendezvous.initiator(left.ticket, { socket: wire.there })
  wire.here.resetAndDestroy()
  wire.there.destroy()
  await until('both are over', () => late.told.length + left.told.length === 2)
  expect(rendezvous.answering(left.ticket, { socket: wire.there })).toBe('unknown-ticket')
  expect(rendezvous.counts).toMatchObject({ live: 0, waiting: 0 })
})

test('a slow reader at one end holds up the writer at the other; a cut ends both at once', async () => {
  using rendezvous = openRendezvous()
  await using left = await openWire()
  await using right = await openWire()
  const meeting = meetingOf()
  rendezvous.expect(meeting, 5_000)
  rendezvous.initiator(meeting.ticket, { socket: left.there })
  rendezvous.answering(meeting.ticket, { socket: right.there })
  for (const [writer, passes] of [
    [left.here, right.there],
    [right.here, left.there],
  ] as const) {
    await writeUntilStalled(writer, 64 * 1_048_576)
    expect(writer.writableNeedDrain).toBe(true)
    expect(passes.writableLength).toBeLessThan(1_048_576)
  }
  rendezvous.cut(meeting.ticket)
  await until('both are cut', () => left.there.closed && right.there.closed)
  const { bytes } = rendezvous.counts
  await after(20)
  expect(rendezvous.counts.bytes).toBe(bytes)
})

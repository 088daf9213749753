import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openCeiling } from '#agent/ceiling.ts'
import { openProbes } from '#agent/probes.ts'
import { ProbeOrder } from '#gen/fleetcat/v1/agent.ts'
import { ProbeVerdict } from '#gen/fleetcat/v1/relay.ts'
import type { Lookup } from '#relay/endpoint.ts'
import { needing } from '#test/resources/needs.ts'
import { root, startProgram } from '#test/resources/program.ts'
import { openServer } from '#test/resources/servers.ts'
import { until } from '#test/resources/until.ts'
import { toDuration, toMilliseconds } from '#wire/duration.ts'
import { forbid, keptLog, permit } from './resources.ts'

type Lines = ReturnType<typeof permit>

function openHost({ lookup, ...rules }: { permit?: Lines; forbid?: Lines; lookup?: Lookup } = {}) {
  const kept = keptLog()
  const ceiling = openCeiling({ permit: [], forbid: [], ...rules })
  const probes = openProbes({ ceiling, log: kept.log, ...(lookup && { lookup }) })
  let n = 0
  return {
    kept,
    async look(address: string, more: Partial<ProbeOrder> = {}) {
      const probeId = `p-${++n}`
      const order = { probeId, address, timeout: toDuration(5_000), by: 'operator/ann', ...more }
      const answer = await probes.run(ProbeOrder.fromPartial(order))
      expect(answer.probeId).toBe(probeId)
      return answer.result!
    },
    [Symbol.asyncDispose]: () => probes[Symbol.asyncDispose](),
  }
}

const closing = () => openServer(socket => socket.resume().once('end', () => socket.end()))

test('an order is one look, of which the host’s log says who wanted it', async () => {
  await using server = await closing()
  await using host = openHost()
  const result = await host.look(`TCP4:127.0.0.1:${server.port}`)
  expect(result).toMatchObject({ verdict: ProbeVerdict.OPEN, ip: '127.0.0.1', problem: undefined })
  expect(toMilliseconds(result.connect!)).toBeGreaterThan(0)
  expect(result).toMatchObject({ resolve: undefined, tls: undefined, firstByte: undefined })
  expect(host.kept.lines).toMatchObject([{ event: 'probed', by: 'operator/ann', verdict: 'open' }])
})

test.each([
  'TCP4:169.254.169.254:80',
  'TCP:[::ffff:169.254.169.254]:80',
  'TCP4:0xa9fea9fe:80',
  'OPENSSL:169.254.169.254:443',
  'UDP4:169.254.169.254:53',
  'TCP4:0.0.0.0:22',
])('%s is denied, as it is to relays', async address => {
  await using host = openHost()
  const result = await host.look(address)
  expect(result).toMatchObject({ verdict: ProbeVerdict.DENIED, problem: { code: 'denied' } })
  expect(result.problem!.why).toMatch(/the host's ceiling has no target at/)
  expect(result.connect).toBeUndefined()
})

test('neither a name nor a change of its mind leads to what the ceiling denies', async () => {
  let asked = 0
  const lookup: Lookup = async () => {
    asked++
    return [{ address: '169.254.169.254', family: 4 }]
  }
  await using host = openHost({ lookup })
  const result = await host.look('TCP4:metadata.example:80')
  expect(result).toMatchObject({ verdict: ProbeVerdict.DENIED, ip: '' })
  expect(asked).toBe(1)
})

needing('python3')('of a name with several addresses each gets its share of the time', async () => {
  await using server = await openServer(socket => socket.resume().once('end', () => socket.end()), {
    host: '::1',
  })
  const script = join(root, 'test/resources/full-backlog.py')
  await using stuck = startProgram(['python3', script, String(server.port)])
  await stuck.says(/full/)
  const lookup: Lookup = async () => [
    { address: '127.0.0.1', family: 4 },
    { address: '::1', family: 6 },
  ]
  await using host = openHost({ lookup })
  const address = `TCP:two.example:${server.port}`
  const result = await host.look(address, { timeout: toDuration(1_000) })
  expect(result).toMatchObject({ verdict: ProbeVerdict.OPEN, ip: '::1' })
})

test('what the host’s owner forbids is denied, with the line, and what no line permits with the line to add', async () => {
  await using server = await closing()
  const address = `TCP4:127.0.0.1:${server.port}`
  await using strict = openHost({ forbid: forbid('TCP:127.0.0.0/8:*') })
  const result = await strict.look(address)
  expect(result).toMatchObject({ verdict: ProbeVerdict.DENIED })
  expect(result.problem!.why).toContain('forbids TCP:127.0.0.0/8:*')
  expect(server.sockets.size).toBe(0)
  const unix = await strict.look('UNIX-CONNECT:/run/some.sock')
  expect(unix).toMatchObject({ verdict: ProbeVerdict.DENIED })
  expect(unix.problem!.fix).toContain('add "UNIX-CONNECT:/run/some.sock" under permit:')

  await using generous = openHost({ permit: permit('UNIX-CONNECT:/run/*') })
  const absent = await generous.look('UNIX-CONNECT:/run/fleetcat-nobody.sock')
  expect(absent).toMatchObject({ verdict: ProbeVerdict.FAILED, problem: { code: 'not-found' } })
})

test.each([
  'EXEC:/bin/true',
  'TCP4:127.0.0.1:1!!TCP4:127.0.0.1:2',
  '@edge-2/TCP4:127.0.0.1:1',
  '',
  '\u001b[2J',
])('whatever a controller says, %j is not opened', async address => {
  await using host = openHost({ permit: permit('EXEC:/bin/true') })
  expect(await host.look(address)).toMatchObject({ verdict: ProbeVerdict.FAILED })
})

test('so many at a time, and no more; and when the agent stops they end', async () => {
  await using server = await openServer(socket => socket.resume().once('end', () => socket.end()))
  const address = `TCP4:127.0.0.1:${server.port}`
  const host = openHost()
  const waiting = Array.from({ length: 32 }, () => host.look(address, { expectByte: true }))
  await until('all are connected', () => server.sockets.size === 32)
  const more = await host.look(address)
  expect(more).toMatchObject({ verdict: ProbeVerdict.FAILED, problem: { code: 'exhausted' } })
  await host[Symbol.asyncDispose]()
  for (const result of await Promise.all(waiting))
    expect(result).toMatchObject({ verdict: ProbeVerdict.FAILED, problem: { code: 'closed' } })
  await until('nothing is open', () => server.sockets.size === 0)
})

test('a time that no controller of ours gives is cut to the longest', async () => {
  await using server = await closing()
  await using host = openHost()
  const far = { seconds: 1n << 40n, nanos: 0 }
  for (const timeout of [far, undefined, toDuration(-1)])
    expect((await host.look(`TCP4:127.0.0.1:${server.port}`, { timeout })).verdict).toBe(ProbeVerdict.OPEN)
})

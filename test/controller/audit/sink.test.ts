import { readFileSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { auditRows } from '#test/resources/audit.ts'
import { type Collector, openCollector } from '#test/resources/collector.ts'
import { create, draft, revoke } from '#test/resources/drafts.ts'
import { joinAgent, openController, type TestController } from '#test/resources/fleet.ts'
import { needing } from '#test/resources/needs.ts'
import { openPki } from '#test/resources/pki.ts'
import { freePort } from '#test/resources/ports.ts'
import { startProgram } from '#test/resources/program.ts'
import { openScratch } from '#test/resources/scratch.ts'
import { until } from '#test/resources/until.ts'

const config = (port: number, more = 'protocol: tcp') =>
  `audit: { syslog: { address: "127.0.0.1:${port}", ${more} } }`

const seqOf = (message: string) => Number(/ seq="(\d+)"/.exec(message)?.[1])
const have = (...collectors: Collector[]) =>
  new Set(collectors.flatMap(({ messages }) => messages.map(seqOf)))

async function allAre(controller: TestController, ...collectors: Collector[]): Promise<void> {
  const rows = await auditRows(controller)
  await until('the collector has every row', () => {
    const there = have(...collectors)
    return rows.every(({ seq }) => there.has(Number(seq)))
  })
}

const delivered = async (port: number) => {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
  return /^fleetcat_audit_unsent_rows (\d+)$/m.exec(text)?.[1]
}

test('a collector gets every row, also those of before, as RFC 5424 in frames of RFC 6587', async () => {
  await using collector = await openCollector()
  await using controller = await openController({ config: config(collector.port) })
  await joinAgent(controller, { name: 'edge-1' })
  await create(controller, draft('web', {}, { reason: 'é"]\\\n😀' }))
  await allAre(controller, collector)
  expect(collector.messages.map(seqOf)).toEqual((await auditRows(controller)).map(({ seq }) => Number(seq)))
  const last = collector.messages.at(-1)
  expect(last).toMatch(
    /^<110>1 \S+Z fleet-\S+ fleetcat - relay\.created \[fleetcat@32473 seq="\d+" .*\] \ufeffrelay created$/,
  )
  expect(last).toContain('reason="é\\"\\]\\\\\\\\u{a}😀"')
})

test('what a collector lacks after an outage is sent again, in order, and nothing is left out', async () => {
  const port = await freePort()
  await using controller = await openController({ config: config(port) })
  await joinAgent(controller, { name: 'edge-1' })
  await until('it is missed', () => controller.events('audit.sink-lost').length === 1)
  const collectors: Collector[] = []
  for (let round = 0; round < 3; round++) {
    const collector = await openCollector({ port })
    collectors.push(collector)
    for (let i = 0; i < 20; i++) {
      await create(controller, draft(`r-${round}-${i}`))
      if (i === 10) collector.hangUp()
    }
    await until('some came', () => collector.messages.length > 5)
    await collector[Symbol.asyncDispose]()
    for (let i = 0; i < 5; i++) await create(controller, draft(`away-${round}-${i}`))
  }
  await using collector = await openCollector({ port })
  collectors.push(collector)
  await allAre(controller, ...collectors)
  for (const { messages, connections } of collectors) {
    const seqs = messages.map(seqOf)
    const restarts = seqs.filter((seq, i) => i > 0 && seq !== seqs[i - 1]! + 1).length
    expect(restarts).toBeLessThan(connections)
  }
})

test('what has been delivered is not sent again after a restart, and the metrics say how much is not', async () => {
  await using collector = await openCollector()
  const port = await freePort()
  await using controller = await openController({
    config: config(collector.port),
    metrics: `127.0.0.1:${port}`,
  })
  await allAre(controller, collector)
  await until('it counts as delivered', async () => (await delivered(port)) === '0')
  const before = collector.messages.length
  await controller.restart()
  await joinAgent(controller, { name: 'edge-1' })
  await allAre(controller, collector)
  expect(collector.messages.slice(before).map(seqOf)).toEqual(
    (await auditRows(controller)).slice(before).map(({ seq }) => Number(seq)),
  )
})

test('a collector is reached by TLS if it shows a certificate of the right authority, and CEF travels in syslog', async () => {
  using pki = openPki()
  const read = ({ key, cert }: { key: string; cert: string }) => ({
    key: readFileSync(key, 'utf8'),
    cert: readFileSync(cert, 'utf8'),
  })
  const good = read(pki.issue({ name: 'logs', alt: 'IP:127.0.0.1', usage: 'serverAuth' }))
  const other = read(pki.issue({ name: 'other', alt: 'IP:127.0.0.2', usage: 'serverAuth' }))
  const port = await freePort()
  await using controller = await openController({
    config: config(port, `protocol: tls, format: cef, cafile: "${pki.ca}"`),
  })
  {
    await using impostor = await openCollector({ port, tls: other })
    await until('it is refused', () => controller.events('audit.sink-lost').length === 1)
    expect(impostor.messages).toEqual([])
  }
  await using collector = await openCollector({ port, tls: good })
  await until('it has the first row', () => collector.messages.length > 0)
  expect(collector.messages[0]).toMatch(/^<110>1 \S+ fleet-\S+ fleetcat - \S+ - CEF:0\|fleetcat\|fleetcat\|/)
})

test('a collector that stalls holds up nobody', async () => {
  await using collector = await openCollector({ stalls: true })
  await using controller = await openController({ config: config(collector.port) })
  await joinAgent(controller, { name: 'edge-1' })
  for (let i = 0; i < 100; i++) await create(controller, draft(`r-${i}`, {}, { reason: 'x'.repeat(500) }))
  await revoke(controller, 'relay/r-1')
  expect((await auditRows(controller)).at(-1)).toMatchObject({ event: 'revoked' })
})

test.each([
  ['a missing file', 'cafile: /nonexistent/ca.pem', 'audit.syslog.cafile /nonexistent/ca.pem'],
  ['an unknown protocol', 'protocol: udp', 'configuration'],
])('%s is refused at start', async (_, more, what) => {
  await expect(openController({ config: config(6514, more) })).rejects.toMatchObject({
    what: expect.stringContaining(what),
  })
})

needing('rsyslogd')('rsyslog reads every field as it was written', async () => {
  await using scratch = await openScratch()
  const [port, out] = [await freePort(), join(scratch.path, 'out')]
  await writeFile(
    join(scratch.path, 'rsyslog.conf'),
    `global(workDirectory="${scratch.path}" parser.escapeControlCharactersOnReceive="off" maxMessageSize="64k")
module(load="imtcp")
input(type="imtcp" address="127.0.0.1" port="${port}")
template(name="fields" type="string" string="%syslogfacility%|%syslogseverity%|%hostname%|%app-name%|%msgid%|%structured-data%|%msg%\\n")
action(type="omfile" file="${out}" template="fields")
`,
  )
  const words = ['-n', '-f', join(scratch.path, 'rsyslog.conf'), '-i', join(scratch.path, 'pid')]
  await using rsyslog = startProgram(['rsyslogd', ...words])
  await using controller = await openController({ config: config(port) })
  await joinAgent(controller, { name: 'edge-1' })
  await create(controller, draft('web', {}, { reason: 'é"]\\\n😀' }))
  const lines = await until(`rsyslog has it: ${rsyslog.output()}`, async () => {
    const text = await readFile(out, 'utf8')
    return text.includes('|relay.created|') ? text.trimEnd().split('\n') : undefined
  })
  expect(lines).toHaveLength((await auditRows(controller)).length)
  const [facility, severity, host, app, id, data, message] = lines.at(-1)!.split('|')
  expect({ facility, severity, app, id }).toEqual({
    facility: '13',
    severity: '6',
    app: 'fleetcat',
    id: 'relay.created',
  })
  expect(host).toMatch(/^fleet-/)
  expect(data).toContain(' reason="é\\"\\]\\\\\\\\u{a}😀" ')
  expect(message).toBe('\ufeffrelay created')
})

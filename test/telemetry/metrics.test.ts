import { expect, test } from 'vitest'
import { Gauge, openRegistry, serveMetrics } from '#telemetry/metrics.ts'
import { openServer } from '#test/resources/servers.ts'

test('the metrics of the process are served as Prometheus text', async () => {
  await using registry = openRegistry()
  await using server = await serveMetrics('127.0.0.1:0', registry)
  const response = await fetch(`http://${server.local}/metrics`)
  expect(response.status).toBe(200)
  expect(response.headers.get('content-type')).toContain('text/plain')
  const text = await response.text()
  expect(text).toMatch(/^process_resident_memory_bytes \d+$/m)
  expect(text).toMatch(/^fleetcat_event_loop_delay_seconds\{quantile="0\.99"\} [\d.e-]+$/m)
})

test('other paths say where the metrics are', async () => {
  await using registry = openRegistry()
  await using server = await serveMetrics('127.0.0.1:0', registry)
  const response = await fetch(`http://${server.local}/`)
  expect([response.status, await response.text()]).toEqual([404, 'fleetcat: the metrics are at /metrics\n'])
})

test('a figure that cannot be read costs the scrape and not the process', async () => {
  await using registry = openRegistry()
  new Gauge({
    name: 'broken',
    help: 'fails',
    registers: [registry],
    collect() {
      throw new Error('no figure')
    },
  })
  await using server = await serveMetrics('127.0.0.1:0', registry)
  const response = await fetch(`http://${server.local}/metrics`)
  expect([response.status, await response.text()]).toEqual([500, expect.stringContaining('no figure')])
})

test('a port in use is named', async () => {
  await using taken = await openServer(() => {})
  await using registry = openRegistry()
  await expect(serveMetrics(`127.0.0.1:${taken.port}`, registry)).rejects.toMatchObject({
    code: 'address-in-use',
    what: `metrics on 127.0.0.1:${taken.port}`,
  })
})

test.each(['9464', ':9464', 'host:99999', 'a:b:1', ''])('refuses the address %j', async address => {
  await using registry = openRegistry()
  await expect(serveMetrics(address, registry)).rejects.toMatchObject({ code: 'usage' })
})

test('an IPv6 address is shown as it is dialled', async () => {
  await using registry = openRegistry()
  await using server = await serveMetrics('[::1]:0', registry)
  expect(server.local).toMatch(/^\[::1\]:\d+$/)
  expect((await fetch(`http://${server.local}/metrics`)).status).toBe(200)
})

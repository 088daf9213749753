import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { Gauge, Registry } from 'prom-client'
import { RelayError } from '#relay/errors.ts'
import { formatHostPort, type HostPort, parseHostPort } from '#wire/host-port.ts'

export { Counter, Gauge, Registry } from 'prom-client'

/** A registry that already knows the process: its memory, its uptime and how late its event loop runs. */
export function openRegistry(): Registry & AsyncDisposable {
  const registry = new Registry()
  const delay = monitorEventLoopDelay({ resolution: 20 })
  delay.enable()
  const registers = [registry]
  new Gauge({
    name: 'fleetcat_event_loop_delay_seconds',
    help: 'How late the event loop ran since the last scrape',
    labelNames: ['quantile'],
    registers,
    collect() {
      for (const quantile of [50, 99])
        this.set({ quantile: `0.${quantile}` }, finite(delay.percentile(quantile) / 1e9))
      this.set({ quantile: '1' }, finite(delay.max / 1e9))
      delay.reset()
    },
  })
  new Gauge({
    name: 'process_resident_memory_bytes',
    help: 'Resident memory of this process',
    registers,
    collect() {
      this.set(process.memoryUsage.rss())
    },
  })
  new Gauge({
    name: 'process_uptime_seconds',
    help: 'Time since this process started',
    registers,
    collect() {
      this.set(process.uptime())
    },
  })
  return Object.assign(registry, {
    async [Symbol.asyncDispose]() {
      delay.disable()
    },
  })
}

const finite = (n: number) => (Number.isFinite(n) ? n : 0)

export interface MetricsServer extends AsyncDisposable {
  readonly local: string
}

/** Throws a RelayError `usage` when it is not `host:port`. */
export function metricsAddress(text: string): HostPort {
  return parseHostPort(text, {
    what: `--metrics ${text}`,
    fix: 'Write for example --metrics 127.0.0.1:9464',
  })
}

/** Serves `GET /metrics` as Prometheus text on `host:port`. Rejects with a RelayError that names the address. */
export async function serveMetrics(address: string, registry: Registry): Promise<MetricsServer> {
  const { host, port } = metricsAddress(address)
  const server = createServer(async (request, response) => {
    if (request.url !== '/metrics')
      return void response.writeHead(404).end('fleetcat: the metrics are at /metrics\n')
    try {
      const text = await registry.metrics()
      response.writeHead(200, { 'content-type': registry.contentType }).end(text)
    } catch (thrown) {
      response
        .writeHead(500)
        .end(`fleetcat: ${RelayError.from(thrown, 'the metrics cannot be read').message}\n`)
    }
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', error => reject(RelayError.from(error, `metrics on ${address}`)))
    server.listen(port, host, resolve)
  })
  const bound = server.address() as AddressInfo
  return {
    local: formatHostPort({ host, port: bound.port }),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
    },
  }
}

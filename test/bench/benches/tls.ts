import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { certificateIn } from '../certificate.ts'
import { type Comparison, compare, microseconds, perSecond, sampleMs } from '../comparison.ts'
import type { Bench, BenchContext, Outcome } from '../harness.ts'
import { type Known, nginxModule } from '../peers.ts'
import { throughRelay } from '../ways.ts'

/** Who ends TLS in front of a plain server, each with the same certificate, for TLS 1.3. */
function terminators(pem: string): Known[] {
  return [
    {
      name: 'socat',
      program: 'socat',
      askVersion: ['-V'],
      async words(port, target) {
        const listen = `OPENSSL-LISTEN:${port},bind=127.0.0.1,fork,reuseaddr,backlog=511,cert=${pem},verify=0`
        return [listen, `TCP4:127.0.0.1:${target}`]
      },
    },
    {
      name: 'stunnel',
      program: 'stunnel4',
      askVersion: ['-version'],
      async words(port, target, directory) {
        const file = join(directory, 'stunnel.conf')
        const service = `[bench]\naccept = 127.0.0.1:${port}\nconnect = 127.0.0.1:${target}\ncert = ${pem}\n`
        await writeFile(file, `foreground = yes\npid =\ndebug = err\nsocket = l:TCP_NODELAY=1\n${service}`)
        return [file]
      },
    },
    {
      name: 'haproxy',
      program: 'haproxy',
      askVersion: ['-v'],
      async words(port, target, directory) {
        const file = join(directory, 'haproxy.cfg')
        await writeFile(
          file,
          `global
  maxconn 6000
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen bench
  bind 127.0.0.1:${port} ssl crt ${pem}
  server target 127.0.0.1:${target}
`,
        )
        return ['-db', '-f', file]
      },
    },
    {
      name: 'nginx stream',
      program: 'nginx',
      askVersion: ['-v'],
      async words(port, target, directory) {
        const file = join(directory, 'nginx.conf')
        await writeFile(
          file,
          `${existsSync(nginxModule) ? `load_module ${nginxModule};` : ''}
daemon off;
worker_processes auto;
pid ${directory}/nginx.pid;
error_log stderr crit;
events { worker_connections 8192; }
stream {
  server {
    listen 127.0.0.1:${port} ssl backlog=511;
    ssl_certificate ${pem};
    ssl_certificate_key ${pem};
    ssl_protocols TLSv1.3;
    proxy_pass 127.0.0.1:${target};
  }
}
`,
        )
        return ['-c', file, '-p', directory, '-e', 'stderr']
      },
    },
  ]
}

async function through(cx: BenchContext, comparison: Omit<Comparison, 'known' | 'ways'>): Promise<Outcome> {
  await using held = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'fleetcat-bench-tls-'))
  held.defer(() => rm(folder, { recursive: true, force: true }))
  const pem = certificateIn(folder)
  const ours = throughRelay(
    port => `OPENSSL-LISTEN:${port},bind=127.0.0.1,fork,cert=${pem},verify=0`,
    port => `TCP4:127.0.0.1:${port}`,
    [`OPEN:${pem},rdonly`],
  )
  return await compare(cx, { ...comparison, known: terminators(pem), ways: [ours] })
}

export const tlsStream: Bench = {
  name: 'tls-stream',
  title: 'One stream through a relay that ends TLS',
  about:
    'One TLS 1.3 connection to a plain server, read as fast as it comes for 1.5 s a sample. The client and its TLS are the same for all.',
  run: cx =>
    through(cx, {
      serve: 'source',
      unit: 'GB/s',
      question: ({ port }) => ({ do: 'tls-stream', port, ms: sampleMs }),
      show: value => (value / 1e9).toFixed(2),
      cpu: { unit: 's a GB', show: seconds => (seconds * 1e9).toFixed(2) },
    }),
}

export const tlsConnections: Bench = {
  name: 'tls-connections',
  title: 'New TLS connections',
  about:
    'A whole handshake (TLS 1.3, a P-256 certificate, nothing resumed), one byte there and back, close; 20 at a time for 1.5 s a sample.',
  run: cx =>
    through(cx, {
      serve: 'echo',
      unit: 'connections/s',
      question: ({ port }) => ({ do: 'tls-connect', port, total: 4_000, ms: sampleMs }),
      show: perSecond,
      cpu: { unit: 'µs a connection', show: microseconds },
    }),
}

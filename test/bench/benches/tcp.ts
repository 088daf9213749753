import { compare, microseconds, perSecond, sampleMs } from '../comparison.ts'
import type { Bench } from '../harness.ts'

export const tcpStream: Bench = {
  name: 'tcp-stream',
  title: 'One TCP stream through a relay',
  about:
    'One connection, read as fast as it comes for 1.5 s a sample. Sender, relay and receiver are a process each, on the loopback.',
  run: cx =>
    compare(cx, {
      serve: 'source',
      unit: 'GB/s',
      question: ({ port }) => ({ do: 'stream', port, ms: sampleMs }),
      show: value => (value / 1e9).toFixed(2),
      cpu: { unit: 's a GB', show: seconds => (seconds * 1e9).toFixed(2) },
    }),
}

export const tcpRequests: Bench = {
  name: 'tcp-requests',
  title: 'Small requests on 50 kept connections',
  about: '100 bytes there, 100 bytes back, then the next; 50 connections at once, 1.5 s a sample.',
  run: cx =>
    compare(cx, {
      serve: 'echo',
      unit: 'requests/s',
      question: ({ port }) => ({ do: 'requests', port, connections: 50, ms: sampleMs }),
      show: perSecond,
      cpu: { unit: 'µs a request', show: microseconds },
    }),
}

export const tcpConnections: Bench = {
  name: 'tcp-connections',
  title: 'New connections',
  about:
    'Connect, one byte there and back, close; 20 at a time, up to 4,000 or 1.5 s a sample. socat has `backlog=511`; with its own backlog of 5 it is slower.',
  run: cx =>
    compare(cx, {
      serve: 'echo',
      unit: 'connections/s',
      question: ({ port }) => ({ do: 'connect', port, total: 4_000, ms: sampleMs }),
      show: perSecond,
      cpu: { unit: 'µs a connection', show: microseconds },
    }),
}

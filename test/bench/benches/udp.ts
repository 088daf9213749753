import { compare, microseconds, perSecond, sampleMs } from '../comparison.ts'
import type { Bench } from '../harness.ts'
import type { Known } from '../peers.ts'
import { noRelay, throughRelay } from '../ways.ts'

/** One process a flow, as its manual says. */
const socat: Known = {
  name: 'socat',
  program: 'socat',
  askVersion: ['-V'],
  datagrams: true,
  async words(port, target) {
    return [`UDP4-LISTEN:${port},bind=127.0.0.1,fork,reuseaddr`, `UDP4:127.0.0.1:${target}`]
  },
}

const ours = throughRelay(
  port => `UDP4-LISTEN:${port},bind=127.0.0.1,fork`,
  port => `UDP4:127.0.0.1:${port}`,
)

const flows = (name: string, title: string, count: number): Bench => ({
  name,
  title,
  about: `100 bytes there and 100 back; each of ${count === 1 ? 'one flow' : `${count} flows`} keeps ${64 / Math.min(count, 16)} datagrams on the way, 1.5 s a sample. What is lost is sent anew after 50 ms.`,
  run: cx =>
    compare(cx, {
      serve: 'udp-echo',
      unit: 'datagrams/s each way',
      question: ({ port }) => ({ do: 'datagrams', port, flows: count, ms: sampleMs }),
      show: perSecond,
      cpu: { unit: 'µs an exchange', show: microseconds },
      known: [socat],
      ways: [noRelay, ours],
    }),
})

export const udpFlow = flows('udp-flow', 'Datagrams of one UDP flow', 1)
export const udpFlows = flows('udp-flows', 'Datagrams of 16 UDP flows', 16)

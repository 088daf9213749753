import { setTimeout as delay } from 'node:timers/promises'
import type { Bench } from '../harness.ts'
import { memoryOf } from '../machine.ts'
import { findPeers, versionsOf } from '../peers.ts'
import { startHelper } from '../processes.ts'
import type { LoadQuestion } from '../programs/load.ts'
import { median } from '../statistics.ts'
import { type OpenWay, reference, throughFleetcat, throughPeer } from '../ways.ts'

const rounds = 3
const count = 2_000
const warmUp = 100

/** In a process that has just started: what an earlier load has left behind would hide what this one takes. */
async function growthPerConnection(open: OpenWay): Promise<{ name: string; bytes: number }> {
  await using target = await startHelper<{ serve: 'echo' }, number>('target.ts')
  await using load = await startHelper<LoadQuestion, unknown>('load.ts')
  await using way = await open(target, 'echo')
  const { name, port, pid } = way
  await load.ask({ do: 'hold', port, count: warmUp })
  const before = await settled(pid!)
  await load.ask({ do: 'hold', port, count })
  return { name, bytes: ((await settled(pid!)) - before) / count }
}

/** Looked at until it has not grown or shrunk by a hundredth for a second. */
async function settled(pid: number): Promise<number> {
  const deadline = performance.now() + 15_000
  for (let last = memoryOf(pid); ; ) {
    await delay(1_000)
    const now = memoryOf(pid)
    if (Math.abs(now - last) < last / 100 || performance.now() > deadline) return now
    last = now
  }
}

export const tcpIdle: Bench = {
  name: 'tcp-idle',
  title: 'Memory of an idle connection',
  about: `What ${count.toLocaleString('en')} connections that have said one byte add to the relay's memory (PSS of the process and its children, so shared pages are not counted twice), each time in a relay that has just started.`,
  async run(cx) {
    const peers = (await findPeers(cx.missing)).filter(({ name }) => name !== 'socat -b 131072')
    const samples = new Map<string, number[]>()
    for (let round = 1; round <= rounds; round++) {
      for (const open of [throughFleetcat, ...peers.map(throughPeer)]) {
        const { name, bytes } = await growthPerConnection(open)
        samples.set(name, [...(samples.get(name) ?? []), bytes])
      }
      cx.say(`round ${round} of ${rounds}`)
    }
    const base = median(samples.get(reference) ?? [])
    const kib = (bytes: number) => (bytes / 1024).toFixed(1)
    return {
      columns: ['', 'KiB a connection', 'lowest – highest', `against ${reference}`],
      rows: [...samples].map(([name, bytes]) => [
        name,
        kib(median(bytes)),
        `${kib(Math.min(...bytes))} – ${kib(Math.max(...bytes))}`,
        Number.isNaN(base) ? '–' : `${(median(bytes) / base).toFixed(2)} ×`,
      ]),
      raw: { count, bytesPerConnection: Object.fromEntries(samples) },
      versions: versionsOf(peers),
    }
  },
}

import { setTimeout as delay } from 'node:timers/promises'
import type { Bench } from '../harness.ts'
import { memoryOf, runSecondsOf } from '../machine.ts'
import { ser2nets, socat } from '../serial-peers.ts'
import { type Ends, findSerialPeers, openEnds, openLines, ours, type SerialKind } from '../serial-ways.ts'

const count = 64
const watchedMs = 10_000
const settleMs = 2_000

export const serialOpen: Bench = {
  name: 'serial-open',
  title: `${count} open serial ports that say nothing`,
  about: `${count} pseudo-terminals, each with a client that has heard it once. Memory is what it takes to open them in a process that listens for all of them (PSS, so shared pages are not counted twice); of socat, whose processes are there for one port each, it is theirs. CPU is that of all its processes over ${watchedMs / 1_000} s. An agent keeps in touch with its controller, with ports or without.`,
  async run(cx) {
    const { kinds, versions } = await findSerialPeers(cx.missing, [socat, ...ser2nets.slice(0, 1)])
    await using held = new AsyncDisposableStack()
    const ends = held.use(await openEnds())
    const measured = []
    for (const kind of [...ours, ...kinds]) {
      measured.push(await growth(ends, kind, held))
      cx.say(`${kind.name}: open`)
    }
    const bare = held.use(await ours[0]!.open([]))
    await delay(settleMs)
    const watched = [...measured, { name: 'an agent without ports', pids: bare.pids, bytes: undefined }]
    const spent = () => watched.map(({ pids }) => pids.reduce((sum, pid) => sum + runSecondsOf(pid), 0))
    const before = spent()
    await delay(watchedMs)
    const idleMs = spent().map((seconds, at) => (seconds - before[at]!) * 1_000)
    return {
      columns: ['', 'KiB a port', `CPU over ${watchedMs / 1_000} s, ms`],
      rows: watched.map(({ name, bytes }, at) => [
        name,
        bytes === undefined ? '–' : (bytes / 1_024).toFixed(0),
        idleMs[at]!.toFixed(1),
      ]),
      raw: { count, measured: watched.map((each, at) => ({ ...each, idleMs: idleMs[at] })) },
      versions,
    }
  },
}

/** What the ports of one relay take. They stay open. */
async function growth(ends: Ends, kind: SerialKind, held: AsyncDisposableStack) {
  let before = 0
  const { name, pids } = held.use(
    await openLines(ends, kind, {
      lines: count,
      async started(pids) {
        await delay(settleMs)
        // A process for each port is there for nothing else.
        if (pids.length === 1) before = memoryOfAll(pids)
      },
    }),
  )
  await delay(settleMs)
  return { name, pids, bytes: (memoryOfAll(pids) - before) / count }
}

const memoryOfAll = (pids: readonly number[]) => pids.reduce((sum, pid) => sum + memoryOf(pid), 0)

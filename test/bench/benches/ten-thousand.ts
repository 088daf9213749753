import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import type { Bench } from '../harness.ts'
import { cpuSecondsOf, memoryOf } from '../machine.ts'
import { startHelper } from '../processes.ts'
import type { LoadQuestion } from '../programs/load.ts'
import { throughFleetcat } from '../ways.ts'

/** As many as the relay's process may have descriptors for, two each, with some to spare. */
const count = Math.min(10_000, Math.floor((mostDescriptors() - 400) / 200) * 100)
const watchedMs = 10_000
/** A process has so many ports of one address to connect from; the load is shared by two that need no more. */
const loads = 2

export const tenThousand: Bench = {
  name: 'ten-thousand',
  title: 'Thousands of idle connections',
  about: `${count.toLocaleString('en')} connections that have said one byte, through one relay of \`fleetcat up\`; watched for ${watchedMs / 1_000} s.`,
  async run(cx) {
    await using held = new AsyncDisposableStack()
    const target = held.use(await startHelper<{ serve: 'echo' }, number>('target.ts'))
    const helpers = []
    for (let i = 0; i < loads; i++)
      helpers.push(held.use(await startHelper<LoadQuestion, unknown>('load.ts')))
    const way = held.use(await throughFleetcat(target, 'echo'))
    const before = memoryOf(way.pid!)
    await Promise.all(helpers.map(load => load.ask({ do: 'hold', port: way.port, count: count / loads })))
    cx.say('all are there')
    await delay(3_000)
    const spent = cpuSecondsOf(way.pid!)
    await delay(watchedMs)
    const idle = cpuSecondsOf(way.pid!) - spent
    const memory = memoryOf(way.pid!) - before
    const asked = performance.now()
    const listed = (await way.fleet!.run('connections', '--no-headers')).trim().split('\n').length
    const listMs = performance.now() - asked
    const cut = performance.now()
    await way.fleet!.run('revoke', 'relay/bench')
    const cutMs = performance.now() - cut
    return {
      columns: ['', 'measured'],
      rows: [
        [
          'CPU of the whole process while they are idle',
          `${((idle / (watchedMs / 1_000)) * 100).toFixed(1)} %`,
        ],
        ['memory of one', `${(memory / count / 1_024).toFixed(1)} KiB`],
        [`\`fleetcat connections\`, ${listed.toLocaleString('en')} rows`, `${(listMs / 1_000).toFixed(2)} s`],
        ['`fleetcat revoke` until the receipt is shown', `${(cutMs / 1_000).toFixed(2)} s`],
      ],
      raw: { idle, memory, listed, listMs, cutMs },
    }
  },
}

function mostDescriptors(): number {
  const soft = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1]
  return Number(soft ?? 1_024)
}

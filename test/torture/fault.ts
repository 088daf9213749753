import { setTimeout as delay } from 'node:timers/promises'
import { dropPackets, type Lost } from '../resources/partition.ts'
import type { Random } from '../resources/random.ts'
import type { Host } from './host.ts'

/** What is wrong with a host for a while. */
export interface Fault {
  readonly words: string
  /** Its sockets are there for as long as this lasts, whatever it is told: it does nothing at all. */
  readonly stops: boolean
  strike(host: Host): Promise<void>
  heal(host: Host): Promise<void>
}

const none: Fault = { words: 'all is well', stops: false, async strike() {}, async heal() {} }

function lossOf(lost: Lost): Fault {
  let partition: AsyncDisposable | undefined
  return {
    words: `packets are lost (${lost})`,
    stops: false,
    async strike({ netns }) {
      partition = await dropPackets(netns, lost)
    },
    async heal() {
      await partition?.[Symbol.asyncDispose]()
    },
  }
}

const killed: Fault = {
  words: 'the agent is killed',
  stops: false,
  strike: host => host.kill(),
  heal: async host => host.start(),
}

/** For about as long as a lease, or longer. */
function stoppedFor(ms: number): Fault {
  return {
    words: `the agent is stopped for ${Math.round(ms)} ms`,
    stops: true,
    async strike({ agent }) {
      agent.kill('SIGSTOP')
    },
    async heal({ agent }) {
      await delay(ms)
      agent.kill('SIGCONT')
    },
  }
}

export function anyFault({ random, pick }: Random): Fault {
  const faults = [
    () => none,
    () => lossOf(pick(['both', 'both', 'sent', 'received'])),
    () => lossOf('both'),
    () => killed,
    () => stoppedFor(random() * 8_000),
  ]
  return pick(faults)()
}

import { launcher, startFleet } from '../fleet.ts'
import { alternate, type Bench, compared } from '../harness.ts'
import { outputOf } from '../processes.ts'

const rounds = 25
const bare = 'node -e 0'

async function msOf(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now()
  await work()
  return performance.now() - began
}

export const cliStart: Bench = {
  name: 'cli-start',
  title: 'Start of the command',
  about:
    'From the start of the process to its end, against the same Node that does nothing. `list` asks a running controller; `socat` runs a whole relay.',
  async run({ say }) {
    await using fleet = await startFleet('up')
    await fleet.run('create', 'bench', 'TCP4-LISTEN:0,bind=127.0.0.1,fork', 'TCP4:127.0.0.1:9', '--wait')
    const side = (name: string, command: string, words: string[]) => ({
      name,
      measure: () => msOf(() => outputOf(command, words, fleet.env)),
    })
    const sides = [
      side(bare, process.execPath, ['-e', '0']),
      side('fleetcat --help', launcher, ['--help']),
      side('fleetcat list', launcher, ['list']),
      side('fleetcat socat -u TIME STDOUT', launcher, ['socat', '-u', 'TIME', 'STDOUT']),
    ]
    const measured = await alternate(sides, rounds, round => /[05] of/.test(round) && say(round))
    return {
      columns: ['', 'ms', 'lowest – highest', `against ${bare}`],
      rows: compared(measured, bare, ms => ms.toFixed(0)),
      raw: { unit: 'ms', measured },
    }
  },
}

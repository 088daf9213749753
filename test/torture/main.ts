import { spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { openAnswered } from '../faults/answered.ts'
import { openRaces } from '../faults/racing.ts'
import { openNetwork } from '../resources/netns.ts'
import { randomFrom } from '../resources/random.ts'
import type { FleetTorture } from './fleet.ts'

const usage = `npm run torture -- [PART…] [--rounds N] [--seed N] [--hosts N]

Does to fleetcat what can happen to it, at random, and fails when a guarantee does not hold. Without a name, all parts.

  races    connections that come while they are revoked, in one process (10,000 rounds)
  answers  a controller that is killed right after it has answered a revoke (1,000 rounds)
  fleet    revokes of all kinds while packets are lost, and agents and controller are killed or stopped, on real
           processes in network namespaces, held against a model (1,000 rounds; needs root, ip and nft)

It prints its seed. With the same seed the same is chosen again; how it interleaves is the machine's to say.
`

interface Ordeal {
  readonly seed: number
  readonly rounds: number
  readonly hosts: number
}

const parts: Readonly<Record<string, { readonly rounds: number; run(ordeal: Ordeal): Promise<void> }>> = {
  races: { rounds: 10_000, run: races },
  answers: { rounds: 1_000, run: answers },
  fleet: { rounds: 1_000, run: fleet },
}

process.exitCode = await main()

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      rounds: { type: 'string' },
      seed: { type: 'string' },
      hosts: { type: 'string', default: '4' },
      help: { type: 'boolean' },
    },
  })
  const unknown = positionals.filter(name => !(name in parts))
  if (values.help || unknown.length > 0) {
    process.stderr.write(usage)
    return values.help ? 0 : 2
  }
  const seed = Number(values.seed ?? randomInt(2 ** 31))
  for (const [name, { rounds, run }] of Object.entries(parts)) {
    if (positionals.length > 0 && !positionals.includes(name)) continue
    const ordeal = { seed, rounds: Number(values.rounds ?? rounds), hosts: Number(values.hosts) }
    process.stdout.write(`${name}: ${ordeal.rounds} rounds, seed ${seed}\n`)
    const began = performance.now()
    try {
      await run(ordeal)
    } catch (thrown) {
      process.stderr.write(`${name} FAILED (again with: npm run torture -- ${name} --seed ${seed})\n`)
      throw thrown
    }
    const seconds = ((performance.now() - began) / 1000).toFixed(0)
    process.stdout.write(`${name}: held, in ${seconds} s\n`)
  }
  return 0
}

async function races({ seed, rounds }: Ordeal): Promise<void> {
  const kinds = ['abort', 'cut', 'ban', 'order'] as const
  const { random } = randomFrom(seed)
  await using each = await openRaces(random)
  for (let round = 0; round < rounds; round++) {
    await each[kinds[round % kinds.length]!]()
    tell(round, rounds)
  }
  process.stdout.write(`${each.met} connections and relays were met by their revocation\n`)
}

async function answers({ seed, rounds }: Ordeal): Promise<void> {
  const { random } = randomFrom(seed)
  await using answered = await openAnswered()
  for (let round = 0; round < rounds; round++) {
    await answered.round(random)
    tell(round, rounds)
  }
}

/** The rounds themselves are in a process in the network of the controller, which this one cannot enter. */
async function fleet({ seed, rounds, hosts }: Ordeal): Promise<void> {
  await using network = await openNetwork(hosts + 1)
  const [hub, ...edges] = network.hosts
  const ordeal: FleetTorture = { seed, rounds, ip: hub!.ip, netns: edges.map(({ netns }) => netns) }
  const program = join(import.meta.dirname, 'fleet.ts')
  const command = ['netns', 'exec', hub!.netns, process.execPath, program, JSON.stringify(ordeal)]
  const child = spawn('ip', command, { stdio: 'inherit' })
  const [code] = await once(child, 'exit')
  if (code !== 0) throw new Error(`it ended with ${code}`)
}

function tell(round: number, rounds: number): void {
  if ((round + 1) % 500 === 0 || round + 1 === rounds) process.stdout.write(`  ${round + 1} of ${rounds}\n`)
}

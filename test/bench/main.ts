import { cliStart } from './benches/cli-start.ts'
import { copyLarge, copySmall } from './benches/copy.ts'
import { orderLatency } from './benches/order-latency.ts'
import { revokeEverywhere } from './benches/revoke-everywhere.ts'
import { revokeUnderLoad } from './benches/revoke-under-load.ts'
import { serialPaced, serialStream } from './benches/serial-bytes.ts'
import { serialEight, serialWatchers } from './benches/serial-full.ts'
import { serialOpen } from './benches/serial-open.ts'
import { serialRoundTrip } from './benches/serial-round-trip.ts'
import { tcpConnections, tcpRequests, tcpStream } from './benches/tcp.ts'
import { tcpIdle } from './benches/tcp-idle.ts'
import { tenThousand } from './benches/ten-thousand.ts'
import { thousandAgents } from './benches/thousand-agents.ts'
import { tlsConnections, tlsStream } from './benches/tls.ts'
import { tunnelConnections, tunnelRequests, tunnelRoundTrip, tunnelStream } from './benches/tunnel.ts'
import { udpFlow, udpFlows } from './benches/udp.ts'
import type { Bench } from './harness.ts'
import { describeMachine } from './machine.ts'
import { keep, publish, tableOf, toResult } from './results.ts'

const benches: readonly Bench[] = [
  tcpStream,
  tcpRequests,
  tcpConnections,
  tcpIdle,
  tenThousand,
  tlsStream,
  tlsConnections,
  udpFlow,
  udpFlows,
  tunnelStream,
  tunnelRequests,
  tunnelConnections,
  tunnelRoundTrip,
  serialRoundTrip,
  serialStream,
  serialPaced,
  serialOpen,
  serialEight,
  serialWatchers,
  copySmall,
  copyLarge,
  cliStart,
  orderLatency,
  revokeUnderLoad,
  revokeEverywhere,
  thousandAgents,
]

const usage = `npm run bench -- [--write] [NAME…]

Measures, and prints a table for each bench. Raw numbers go to test/bench/results/.
A NAME that ends in a hyphen stands for all that begin with it: serial-
--write puts the tables into docs/performance.md, with the date and the machine.

${benches.map(({ name, title }) => `  ${name.padEnd(18)}${title}`).join('\n')}
`

process.exitCode = await main(process.argv.slice(2))

async function main(words: readonly string[]): Promise<number> {
  const names = words.filter(word => !word.startsWith('-'))
  const options = words.filter(word => word.startsWith('-'))
  if (options.includes('--help')) {
    process.stdout.write(usage)
    return 0
  }
  const unknown = [
    ...options.filter(option => option !== '--write'),
    ...names.filter(name => !benches.some(bench => isMeant(bench, name))),
  ]
  if (unknown.length > 0) {
    process.stderr.write(`bench: unknown: ${unknown.join(', ')}\n\n${usage}`)
    return 2
  }
  let failed = 0
  for (const bench of benches)
    if (names.length === 0 || names.some(name => isMeant(bench, name)))
      failed += (await run(bench, options.includes('--write'))) ? 0 : 1
  return failed === 0 ? 0 : 1
}

function isMeant(bench: Bench, name: string): boolean {
  return name.endsWith('-') ? bench.name.startsWith(name) : bench.name === name
}

/** One that fails does not keep the others from running. */
async function run(bench: Bench, write: boolean): Promise<boolean> {
  const say = (words: string) => void process.stderr.write(`${bench.name}: ${words}\n`)
  const missing: string[] = []
  const machine = describeMachine()
  try {
    const outcome = await bench.run({
      say,
      missing(words) {
        missing.push(words)
        say(`not compared: ${words}`)
      },
    })
    const result = toResult(bench, outcome, machine, missing)
    await keep(result)
    if (write) await publish(result)
    process.stdout.write(`\n${bench.title}\n\n${tableOf(result)}\n\n`)
    return true
  } catch (thrown) {
    say(thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown))
    return false
  }
}

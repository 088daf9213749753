import { join } from 'node:path'
import { expect } from 'vitest'
import { needing } from '../resources/needs.ts'
import { freePort } from '../resources/ports.ts'
import { type Program, root } from '../resources/program.ts'
import { isAlive } from '../resources/programs.ts'
import { openClient } from '../resources/servers.ts'
import { until } from '../resources/until.ts'
import { type Fleet, openFleet } from './fleet.ts'

const family = join(root, 'test/relay/programs/family.sh')

/** Has the agent start a family of processes for one client; resolves with their ids. */
async function openFamily(fleet: Fleet, name: string) {
  const port = await freePort()
  const listen = `TCP4-LISTEN:${port},fork,bind=127.0.0.1`
  await fleet.cat(['create', name, '--on', 'edge-1', listen, `EXEC:${family}`, '--wait'])
  const client = await openClient(port)
  let output = ''
  client
    .on('error', () => {})
    .on('data', chunk => {
      output += chunk
    })
  const pids = () => [...output.matchAll(/^(?:bare )?(\d+)$/gm)].map(([, pid]) => Number(pid))
  await until('the family is complete', () => pids().length === 7)
  const bare = Number(/^bare (\d+)$/m.exec(output)?.[1])
  return { client, pids: pids(), bare, [Symbol.asyncDispose]: () => client[Symbol.asyncDispose]() }
}

needing(
  'setsid',
  'setpriv',
  'nohup',
)('a revocation is confirmed when nothing of a program is left', async () => {
  await using fleet = await openFleet()
  await fleet.startController()
  const agent: Program = await fleet.startAgent('edge-1', { args: ['--permit', `EXEC:${family}`] })

  await using revoked = await openFamily(fleet, 'revoked')
  const { stdout } = await fleet.cat(['revoke', 'relay/revoked', '--yes'])
  expect(revoked.pids.filter(isAlive)).toEqual([])
  expect(stdout).toMatch(/edge-1/)

  await using orphaned = await openFamily(fleet, 'orphaned')
  agent.kill('SIGKILL')
  // What has emptied its environment and lost its parent bears no mark any more.
  const marked = orphaned.pids.filter(pid => pid !== orphaned.bare)
  await until('nothing is left of a killed agent', () => !marked.some(isAlive))
  if (isAlive(orphaned.bare)) process.kill(orphaned.bare, 'SIGKILL')
})

import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import { type Fleet, openFleet } from '../e2e/fleet.ts'
import { needing } from '../resources/needs.ts'
import { freePort } from '../resources/ports.ts'
import { launcher, root, run, startProgram } from '../resources/program.ts'
import { openClient, openServer } from '../resources/servers.ts'
import { ended } from '../resources/streams.ts'
import { until } from '../resources/until.ts'
import { follow, readPage } from './guide.ts'

const name = 'revoke-in-a-script'
const text = readFileSync(join(root, 'docs/guide', `${name}.md`), 'utf8')

/** The script that the page has its reader save, with another patience. */
async function saveScript({ folder }: Fleet, timeout: string): Promise<void> {
  const script = /```sh\n([^`]*)```/.exec(text)?.[1] ?? ''
  await writeFile(join(folder, 'cut.sh'), script.replace('--timeout 20s', `--timeout ${timeout}`))
}

function scripted(fleet: Fleet, ...targets: string[]) {
  const env = {
    FLEETCAT_HOME: join(fleet.folder, 'home'),
    PATH: `${join(launcher, '..')}:${process.env.PATH}`,
  }
  return startProgram(['sh', 'cut.sh', ...targets], { env, cwd: fleet.folder })
}

needing('bash', 'jq')(
  'a script revokes on two hosts, repeats it, chooses, shuts out, locks and lifts, as the guide has it',
  async () => {
    await using fleet = await openFleet()
    await using server = await openServer(socket => socket.resume())
    // Two agents of one machine cannot have the same port.
    const page = readPage(name, { ':8080,': ':0,', 'TCP4:10.0.0.5:80': `TCP4:127.0.0.1:${server.port}` })
    await saveScript(fleet, '20s')
    await fleet.startController()
    await fleet.startAgent('edge-1')
    await fleet.startAgent('edge-2')

    const { code, stdout, stderr } = await follow(page, fleet)
    expect(stderr).not.toMatch(/fleetcat:|jq:|parse error/)
    expect(code).toBe(0)
    expect(stdout).toContain('relay/web would be revoked on edge-1, edge-2, cutting 0 connections')
    expect(stdout).toMatch(/^edge-1 cut 0 connections in \d+ ms\nedge-2 cut 0 connections in \d+ ms$/m)
    expect(stdout).toMatch(/^relay\/web edge-1 cut \nrelay\/web edge-2 cut $/m)
    expect(stdout).toContain('relay/web: 0 connections on edge-1, edge-2\n0\n')
    expect(stdout).toMatch(/source\/203\.0\.113\.0\/24 .* active +2\d?h/)
    expect(stdout).toMatch(/^source\/203\.0\.113\.0\/24 lifted \(v-\S+\)$/m)
    expect(stdout).toMatch(/^Lock until: .*\(2\dh/m)
    expect(stdout).toMatch(/^relay\/web lifted \(v-\S+\)$/m)
  },
  60_000,
)

needing('jq')(
  'every exit code of the guide is what it says, and the script of the guide rests when nothing is open any more',
  async () => {
    await using fleet = await openFleet()
    await using server = await openServer(socket => socket.resume())
    await saveScript(fleet, '1s')
    await fleet.startController()
    await fleet.startAgent('edge-1')
    const far = await fleet.startAgent('edge-2')
    const port = await freePort()
    const create = (relay: string, listen: string, ...agents: string[]) => {
      const on = agents.flatMap(agent => ['--on', agent])
      const target = `TCP4:127.0.0.1:${server.port}`
      return fleet.cat(['create', relay, ...on, '--lease', '5s', listen, target, '--wait'])
    }
    await create('web', `TCP4-LISTEN:${port},bind=127.0.0.1,fork`, 'edge-2')
    await create('slow', 'TCP4-LISTEN:0,bind=127.0.0.1', 'edge-1', 'edge-2')

    await fleet.cat(['revoke', 'web'], 2)
    await fleet.cat(['revoke', 'relay/wbe'], 4)
    await fleet.cat(['revoke', '-l', 'team=none'], 4)
    const { name: admin } = await fleet.json(['whoami'])
    await fleet.cat(['revoke', `operator/${admin}`], 5)
    const { token } = await fleet.json(['token', 'create', 'operator', '--name', 'eve', '--role', 'viewer'])
    const eve = { FLEETCAT_HOME: join(fleet.folder, 'eve') }
    expect((await run([launcher, 'login', token], { env: eve })).code).toBe(0)
    expect((await run([launcher, 'revoke', 'relay/web'], { env: eve })).code).toBe(3)
    const nobody = { FLEETCAT_HOME: join(fleet.folder, 'nobody') }
    expect((await run([launcher, 'revoke', 'relay/web'], { env: nobody })).code).toBe(1)

    // It is there, and silent: nobody can say yet whether it has cut.
    far.kill('SIGSTOP')
    await using waiting = scripted(fleet, 'relay/slow')
    await waiting.says(/relay\/slow edge-1 cut \nrelay\/slow edge-2 pending/)
    far.kill('SIGCONT')
    expect((await waiting.ended).code).toBe(0)

    await using client = await openClient(port)
    await until('it is connected', async () => (await fleet.json(['connections'])).items.length === 1)
    far.kill('SIGSTOP')
    await fleet.cat(['revoke', 'relay/web', '--timeout', '1s'], 7)
    far.kill('SIGKILL')
    await ended(client.resume()).catch(() => {})
    await until('it is known to be gone', async () => {
      const { items } = await fleet.json(['agents'])
      return items.some((item: { status: { state: string } }) => item.status.state !== 'ready')
    })
    const { stdout } = await fleet.cat(['revoke', 'relay/web', '-o', 'json'], 6)
    expect(JSON.parse(stdout)).toMatchObject({ receipts: [{ agent: 'edge-2', verdict: 'fenced' }] })
    const outcome = await scripted(fleet, 'relay/web').ended
    expect(outcome).toMatchObject({ code: 0, stdout: expect.stringMatching(/^relay\/web edge-2 fenced 2/) })
    await fleet.cat(['wait', 'relay/web', '--for', 'revoked'])
  },
  90_000,
)

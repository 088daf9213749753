import { spawnSync } from 'node:child_process'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { openFolder } from '../resources/folder.ts'
import { needing } from '../resources/needs.ts'
import { launcher, run } from '../resources/program.ts'
import { openFleet } from './fleet.ts'

const patience = 60_000

/** The environment of a process whose clock is off. */
function clockOff(by: string): Record<string, string> {
  const { stdout } = spawnSync('sh', ['-c', 'faketime -f +0 printenv LD_PRELOAD'], { encoding: 'utf8' })
  return { LD_PRELOAD: stdout.trim(), FAKETIME: by, FAKETIME_DONT_FAKE_MONOTONIC: '1' }
}

describe('a clock that differs', () => {
  needing('faketime')(
    'is named with both times when a host joins or an operator calls',
    async () => {
      await using fleet = await openFleet()
      await fleet.startController()
      for (const by of ['+400d', '-400d']) {
        const { token } = await fleet.json(['token', 'create', 'agent', '--name', 'edge'])
        const joining = await run(
          [launcher, 'agent', '--join', token, '--data', join(fleet.folder, 'edge')],
          { env: clockOff(by) },
        )
        expect(joining.stderr).toMatch(
          /this host's clock says \d{4}-.*the certificate is valid from .*Check the clock/s,
        )
        expect(joining.code).toBe(3)
      }
      const env = { FLEETCAT_HOME: join(fleet.folder, 'home'), ...clockOff('-1h') }
      const list = await run([launcher, 'list'], { env })
      expect(list.stderr).toMatch(
        /not yet valid by this host's clock, which says .*Compare it with the clock of the controller/,
      )
      expect(list.code).toBe(3)
    },
    patience,
  )
})

describe('a disk that does not take more', () => {
  /** A file system of 3 MiB. */
  async function smallDisk(path: string, options = ''): Promise<AsyncDisposable> {
    await mkdir(path)
    const mount = ['mount', '-t', 'tmpfs', '-o', `size=3m,mode=0700${options}`, 'tmpfs', path]
    expect((await run(mount)).code).toBe(0)
    return {
      async [Symbol.asyncDispose]() {
        await run(['umount', '-l', path])
      },
    }
  }

  needing('root', 'mount')(
    'refuses a create and keeps nothing of it, and the controller goes on once there is space',
    async () => {
      await using folder = await openFolder()
      const disk = join(folder.path, 'disk')
      await using _disk = await smallDisk(disk)
      await using fleet = await openFleet({ data: join(disk, 'controller') })
      await fleet.startController()
      await fleet.startAgent('edge')
      const create = ['create', 'web', 'TCP4-LISTEN:0,bind=127.0.0.1,fork', 'TCP4:127.0.0.1:9']
      await run(['sh', '-c', `cat /dev/zero > ${disk}/filler`])

      const refused = await fleet.cat(create, 1)
      expect(refused.stderr).toMatch(/the disk is full. Free some space/)
      expect((await fleet.json(['list'])).items).toEqual([])

      await rm(join(disk, 'filler'))
      await fleet.cat([...create, '--wait'])
    },
    patience,
  )

  needing('root', 'mount')('is named when it is read-only', async () => {
    await using folder = await openFolder()
    const disk = join(folder.path, 'disk')
    await using _disk = await smallDisk(disk, ',ro')
    const outcome = await run(
      [launcher, 'controller', '--listen', '127.0.0.1:0', '--data', join(disk, 'controller')],
      {
        env: { FLEETCAT_HOME: join(folder.path, 'home') },
      },
    )
    expect(outcome.stderr).toMatch(/read-only/)
    expect(outcome.code).toBe(3)
  })
})

describe('a relay', () => {
  needing('socat')(
    'whose port is in use is rejected with the cause, and is ready by itself once the port is free',
    async () => {
      await using fleet = await openFleet()
      await fleet.startController()
      await fleet.startAgent('edge')
      await fleet.cat(['create', 'first', 'TCP4-LISTEN:0,bind=127.0.0.1,fork', 'TCP4:127.0.0.1:9', '--wait'])
      const [, port] = (await fleet.json(['list'])).items[0].status.agents[0].local[0].split(':')
      const second = await fleet.cat(
        ['create', 'second', `TCP4-LISTEN:${port},bind=127.0.0.1,fork`, 'TCP4:127.0.0.1:9', '--wait'],
        6,
      )
      expect(second.stdout).toMatch(/rejected/)
      expect(second.stdout + second.stderr).toMatch(/in use/)
      await fleet.cat(['revoke', 'relay/first'])
      await fleet.cat(['wait', 'relay/second', '--for', 'ready'])
    },
    patience,
  )

  needing('kill')(
    'that the ceiling refuses is told the very line that permits it; SIGHUP takes it, and taking it away cuts',
    async () => {
      await using fleet = await openFleet()
      await fleet.startController()
      const agent = await fleet.startAgent('edge')
      const refused = await fleet.cat(
        ['create', 'wide', 'TCP4-LISTEN:0,fork', 'TCP4:127.0.0.1:9', '--wait'],
        6,
      )
      const [, line = ''] = /add "([^"]+)"/.exec(refused.stdout + refused.stderr) ?? []
      expect(line).toMatch(/^TCP4?-LISTEN:/)

      const file = join(fleet.folder, 'edge', 'agent.yaml')
      await writeFile(file, `permit:\n  - ${line}\n`)
      agent.kill('SIGHUP')
      await fleet.cat(['wait', 'relay/wide', '--for', 'ready'])

      await writeFile(file, 'permitt: []\n')
      agent.kill('SIGHUP')
      await agent.says(/permitt/)
      expect((await fleet.json(['list'])).items[0].status.state).toBe('ready')

      await writeFile(file, 'permit: []\n')
      agent.kill('SIGHUP')
      await agent.says(/"event":"relay.rejected".*"event":"relay.rejected"/s)
      expect((await fleet.json(['describe', 'relay/wide'])).status.state).toBe('rejected')
    },
    patience,
  )
})

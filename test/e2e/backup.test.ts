import { appendFile, cp, mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openServer } from '../resources/servers.ts'
import { until } from '../resources/until.ts'
import { type Fleet, openFleet } from './fleet.ts'

interface Item {
  readonly metadata: { readonly name: string }
  readonly status: { readonly state: string; readonly agents: readonly { readonly state: string }[] }
}

async function stateOf(fleet: Fleet, name: string): Promise<string | undefined> {
  const { items } = (await fleet.json(['list'])) as { items: Item[] }
  return items.find(({ metadata }) => metadata.name === name)?.status.agents[0]?.state
}

const relay = (fleet: Fleet, name: string, port: number) =>
  fleet.cat([
    'create',
    name,
    '--on',
    'edge-1',
    'TCP4-LISTEN:0,bind=127.0.0.1,fork',
    `TCP4:127.0.0.1:${port}`,
    '--wait',
  ])

test('a backup of a running controller that is restored brings the fleet back, and nothing that was revoked since', async () => {
  await using target = await openServer(socket => socket.pipe(socket))
  await using fleet = await openFleet()
  let controller = await fleet.startController()
  await fleet.startAgent('edge-1')
  await relay(fleet, 'kept', target.port)
  await relay(fleet, 'revoked', target.port)
  const data = join(fleet.folder, 'controller')
  const backup = join(fleet.folder, 'backups', 'monday')
  const item = await fleet.json(['controller', 'backup', backup, '--data', data])
  expect(item).toMatchObject({ kind: 'Backup', path: backup, epoch: 1 })
  expect((await stat(backup)).mode & 0o077).toBe(0)
  await fleet.cat(['controller', 'backup', backup, '--data', data], 5)
  await fleet.cat(['revoke', 'relay/revoked'])
  await fleet.cat(['controller', 'restore', backup, '--data', data], 5)

  controller.kill('SIGKILL')
  await controller.ended
  await rm(data, { recursive: true })
  const restored = await fleet.cat(['controller', 'restore', backup, '--data', data, '-o', 'json'])
  expect(JSON.parse(restored.stdout).epoch).toBeGreaterThan(1)
  expect(restored.stderr).toContain('Revoke again every agent and operator')
  controller = await fleet.startController()
  await until(
    'the relay that was kept is ready',
    async () => (await stateOf(fleet, 'kept')) === 'ready',
    30_000,
  )
  await until('the revoked one stays dead', async () => (await stateOf(fleet, 'revoked')) === 'revoked')
}, 90_000)

test('a copy of an older day that is put back without a restore is refused by the agents', async () => {
  await using target = await openServer(socket => socket.pipe(socket))
  await using fleet = await openFleet()
  let controller = await fleet.startController()
  let agent = await fleet.startAgent('edge-1')
  await relay(fleet, 'web', target.port)
  const data = join(fleet.folder, 'controller')
  const old = join(fleet.folder, 'old')
  controller.kill('SIGTERM')
  await controller.ended
  await cp(data, old, { recursive: true })
  controller = await fleet.startController()
  await until('the agent is back', async () => (await stateOf(fleet, 'web')) === 'ready')
  await fleet.cat(['revoke', 'relay/web'])
  for (const program of [controller, agent]) {
    program.kill('SIGKILL')
    await program.ended
  }

  await rm(data, { recursive: true })
  await cp(old, data, { recursive: true })
  controller = await fleet.startController()
  agent = await fleet.startAgent('edge-1').catch(() => agent)
  await controller.says(/alert\.older-controller/)
  expect(await stateOf(fleet, 'web')).not.toBe('ready')
}, 90_000)

test('what is no whole backup is refused with the reason, and leaves nothing behind', async () => {
  await using fleet = await openFleet()
  const controller = await fleet.startController()
  const data = join(fleet.folder, 'controller')
  const backup = join(fleet.folder, 'backup')
  await fleet.cat(['controller', 'backup', backup, '--data', data])
  controller.kill('SIGKILL')
  await controller.ended
  const fresh = join(fleet.folder, 'fresh')
  const refused = async (says: string, code: number) => {
    expect((await fleet.cat(['controller', 'restore', backup, '--data', fresh], code)).stderr).toContain(says)
    expect(await readdir(fresh).catch(() => [])).toEqual([])
  }
  await appendFile(join(backup, 'store/store.db'), 'x')
  await refused('checksum', 1)
  await rm(join(backup, 'authority/authority.pem'))
  await writeFile(join(backup, 'backup.json'), '{}')
  await refused('not what a backup', 2)
  await rm(join(backup, 'backup.json'))
  await refused('no readable backup.json', 4)
  await mkdir(join(fleet.folder, 'empty'))
  const none = ['controller', 'backup', join(fleet.folder, 'b2'), '--data', join(fleet.folder, 'empty')]
  expect((await fleet.cat(none, 4)).stderr).toContain('no store/store.db')
}, 90_000)

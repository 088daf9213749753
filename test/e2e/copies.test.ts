import { mkdir, readdir, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { launcher, startProgram } from '../resources/program.ts'
import { until } from '../resources/until.ts'
import { openFleet } from './fleet.ts'

/** A file that takes a while to copy, and hardly any room. */
async function hugeFile(path: string): Promise<void> {
  await writeFile(path, '')
  await truncate(path, 3_000_000_000)
}

test('a copy that is revoked ends at once, says so, and leaves nothing on either side', async () => {
  await using fleet = await openFleet()
  const [out, received] = [join(fleet.folder, 'out'), join(fleet.folder, 'in')]
  for (const directory of [out, received]) await mkdir(directory)
  await hugeFile(join(out, 'huge'))
  await fleet.startController()
  await fleet.startAgent('a', { args: ['--permit', `SEND:${out}/**`] })
  await fleet.startAgent('b', { args: ['--permit', `RECEIVE:${received}/**`] })
  const env = { FLEETCAT_HOME: join(fleet.folder, 'home') }
  await using copying = startProgram([launcher, 'cp', `@a:${out}/huge`, `@b:${received}/`], { env })
  await until('it has begun', async () => (await readdir(received)).length > 0)

  const { items } = await fleet.json(['connections'])
  const connection = items.find(({ agent }: { agent: string }) => agent === 'a')
  await fleet.cat(['revoke', `conn/${connection.id}`, '--reason', 'not that one'])
  const { code, stderr } = await copying.ended
  expect(stderr).toMatch(/^fleetcat: .*(revoked|took it back|not that one)/)
  expect(code).toBe(3)
  await until('nothing is left', async () => (await readdir(received)).length === 0)
})

test('a copy whose command is killed leaves nothing on the agent; one that is interrupted leaves nothing here', async () => {
  await using fleet = await openFleet()
  const [far, near] = [join(fleet.folder, 'far'), join(fleet.folder, 'near')]
  for (const directory of [far, near]) await mkdir(directory)
  await hugeFile(join(fleet.folder, 'huge'))
  await fleet.startController()
  const args = ['--permit', `SEND:${fleet.folder}/*`, '--permit', `RECEIVE:${far}/**`]
  await fleet.startAgent('a', { args })
  const env = { FLEETCAT_HOME: join(fleet.folder, 'home') }
  for (const [signal, command, directory] of [
    ['SIGKILL', ['cp', join(fleet.folder, 'huge'), `@a:${far}/`], far],
    ['SIGINT', ['cp', `@a:${fleet.folder}/huge`, `${near}/`], near],
  ] as const) {
    await using copying = startProgram([launcher, ...command], { env })
    await until('it has begun', async () => (await readdir(directory)).length > 0)
    copying.kill(signal)
    const { code } = await copying.ended
    if (signal === 'SIGINT') expect(code).toBe(130)
    await until('nothing is left', async () => (await readdir(directory)).length === 0)
  }
})

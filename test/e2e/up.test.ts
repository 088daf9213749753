import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openFolder } from '../resources/folder.ts'
import { launcher, run, startProgram } from '../resources/program.ts'

test('revoking the agent of `up` leaves the controller, now and at the next start, and says the way back', async () => {
  await using folder = await openFolder()
  const env = { FLEETCAT_HOME: folder.path }
  const up = () => startProgram([launcher, 'up', '--listen', '127.0.0.1:0'], { env })
  const cat = (...args: string[]) => run([launcher, ...args], { env })
  {
    await using first = up()
    await first.says(/fleetcat is up/)
    expect(await cat('revoke', 'agent/local')).toMatchObject({ code: 0 })
    await first.says(/The controller goes on/)
    expect(await cat('list')).toMatchObject({ code: 0 })
  }
  {
    await using second = up()
    await second.says(/remove .*identity and start `fleetcat up` anew/)
    expect((await cat('agents', '-o', 'jsonl')).stdout).toMatch(/"state":"revoked"/)
  }
  await rm(join(folder.path, 'agent', 'identity'), { recursive: true })
  await using third = up()
  await third.says(/fleetcat is up/)
  expect((await cat('agents', '-o', 'jsonl')).stdout).toMatch(/"state":"ready"/)
}, 60_000)

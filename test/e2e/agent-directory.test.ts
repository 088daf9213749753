import { join } from 'node:path'
import { expect, test } from 'vitest'
import { launcher, run } from '../resources/program.ts'
import { openFleet } from './fleet.ts'

test('a second agent on the directory of a running one is refused, and the first is not disturbed', async () => {
  await using fleet = await openFleet()
  await fleet.startController()
  const first = await fleet.startAgent('edge')
  const second = await run([launcher, 'agent', '--data', join(fleet.folder, 'edge')])
  expect(second.stderr).toMatch(new RegExp(`process ${first.pid} has it open. Stop that agent first`))
  expect(second.code).toBe(5)
  expect(first.output()).not.toMatch(/fenced/)
}, 30_000)

test('a wrong option costs no token', async () => {
  await using fleet = await openFleet()
  await fleet.startController()
  const { token } = await fleet.json(['token', 'create', 'agent', '--name', 'edge'])
  const data = join(fleet.folder, 'edge')
  const wrong = await run([launcher, 'agent', '--join', token, '--data', data, '--metrics', '9'])
  expect(wrong).toMatchObject({ code: 2 })
  const { items } = await fleet.json(['token', 'list'])
  expect(items).toMatchObject([{ used: 0 }])
}, 30_000)

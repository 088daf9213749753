import { randomBytes } from 'node:crypto'
import { mkdir, readdir, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import { openFleet } from '../e2e/fleet.ts'
import { makeTree, snapshot } from '../resources/copies.ts'
import { needing } from '../resources/needs.ts'
import { follow, permitted, readPage } from './guide.ts'

needing(
  'bash',
  'diff',
  'find',
  'sha256sum',
)('a directory goes to an agent, back, and on to another one, as the guide has it', async () => {
  await using fleet = await openFleet()
  const received = join(fleet.folder, 'in')
  const passedOn = join(fleet.folder, 'passed-on')
  const page = readPage('03-directory-transfer', {
    '@web-2:/srv/in': `@web-2:${passedOn}`,
    '/srv/in': received,
  })
  for (const directory of [received, passedOn]) await mkdir(directory)
  await makeTree(join(fleet.folder, 'site'), randomBytes)
  await fleet.startController()
  await fleet.startAgent('web-1', permitted(page))
  await fleet.startAgent('web-2', { args: ['--permit', `RECEIVE:${passedOn}/**`] })

  const { code, stdout, stderr } = await follow(page, fleet)
  expect(stderr).toBe('')
  expect(code).toBe(0)
  expect(stdout).toMatch(/^new +sub\/large$/m)
  const [sum = ''] = /(?<=sha256 )[0-9a-f]{64}/.exec(stdout) ?? []
  expect(stdout.match(new RegExp(sum, 'g'))).toHaveLength(5)
  expect(stdout).toMatch(/^copied to @web-2:.*\/passed-on\/site: 6 files \(6 there already\)/m)
  expect(await snapshot(join(fleet.folder, 'back'))).toEqual(await snapshot(join(fleet.folder, 'site')))
  expect(await snapshot(join(passedOn, 'site'))).toMatchObject({ 'a.txt': expect.stringContaining('file') })
  expect(await readdir(received)).toEqual(['site'])

  const denied = await fleet.cat(['cp', '@web-1:/etc/passwd', fleet.folder], 3)
  expect(denied.stderr).toContain('add "SEND:/etc/passwd" under permit: in agent.yaml')
  const missing = await fleet.cat(['cp', `@web-1:${received}/missing`, fleet.folder], 4)
  expect(missing.stderr).toContain('no such file')
  const conflict = await fleet.cat(
    ['cp', `${fleet.folder}/site/a.txt`, `@web-1:${received}/site/sub`, '-T'],
    5,
  )
  expect(conflict.stderr).toMatch(/^fleetcat: @web-1: .*a directory has that name/)
  await symlink('/etc', join(received, 'out'))
  await fleet.cat(['cp', `@web-1:${received}/out/passwd`, fleet.folder], 3)
  await fleet.cat(['cp', '@web-9:/etc/passwd', fleet.folder], 4)
})

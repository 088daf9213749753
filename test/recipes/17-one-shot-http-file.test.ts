import { randomBytes } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import { openFleet } from '../e2e/fleet.ts'
import { needing } from '../resources/needs.ts'
import { freePort } from '../resources/ports.ts'
import { run } from '../resources/program.ts'
import { follow, permitted, readPage } from './guide.ts'

needing(
  'curl',
  'bash',
  'sha256sum',
)('one file over HTTP, once, as the guide has it', async () => {
  await using fleet = await openFleet()
  const files = join(fleet.folder, 'files')
  const port = String(await freePort())
  const page = readPage('17-one-shot-http-file', { '/srv/files': files, 8000: port })
  const content = randomBytes(5_000_011)
  await mkdir(files)
  await writeFile(join(files, 'release.tar.gz'), content)
  await fleet.startController()
  await fleet.startAgent('edge-1', permitted(page))

  const { code, stdout, stderr } = await follow(page, fleet)
  expect(stderr).not.toMatch(/fleetcat:/)
  expect(code).toBe(0)
  expect(stdout).toMatch(/^release\.tar\.gz: OK$/m)
  expect((await readFile(join(fleet.folder, 'release.tar.gz'))).equals(content)).toBe(true)
  expect((await run(['curl', '-s', `http://127.0.0.1:${port}/`])).code).toBe(7)
  expect(stdout).toMatch(/^release .* done/m)

  const listen = `TCP4-LISTEN:${await freePort()},bind=127.0.0.1`
  const elsewhere = ['create', 'other', '--on', 'edge-1', listen, 'HTTP-FILE:/etc/passwd', '--wait']
  const refused = await fleet.cat(elsewhere, 6)
  expect(refused.stdout + refused.stderr).toContain(
    'add "HTTP-FILE:/etc/passwd,rdonly" under permit: in agent.yaml',
  )
})

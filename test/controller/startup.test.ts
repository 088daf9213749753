import { chmod, cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { startController } from '#controller/main.ts'
import { logTo } from '#telemetry/log.ts'
import { create, draft } from '#test/resources/drafts.ts'
import { joinAgent, openController } from '#test/resources/fleet.ts'
import { openScratch } from '#test/resources/scratch.ts'
import { openServer } from '#test/resources/servers.ts'

const log = logTo({ write: () => {} }, 'controller', 'silent')
const start = (dataDir: string, more: object = {}) =>
  startController({ listen: '127.0.0.1:0', dataDir, log, ...more })

test('a second controller on the same data directory is refused, and the first goes on', async () => {
  await using controller = await openController()
  await expect(start(controller.dataDir)).rejects.toMatchObject({
    name: 'RelayError',
    what: expect.stringContaining(controller.dataDir),
    why: expect.stringContaining('has it open'),
  })
  await controller.admin.ask(c => c.getStatus, {})
})

test('a port in use is named, and nothing is held', async () => {
  await using taken = await openServer(() => {})
  await using scratch = await openScratch()
  const listen = `127.0.0.1:${taken.port}`
  await expect(start(scratch.path, { listen })).rejects.toMatchObject({
    code: 'address-in-use',
    what: `listen on ${listen}`,
  })
  await (await start(scratch.path)).close()
})

test('a metrics port in use is named, and nothing is held', async () => {
  await using taken = await openServer(() => {})
  await using scratch = await openScratch()
  const metrics = `127.0.0.1:${taken.port}`
  await expect(start(scratch.path, { metrics })).rejects.toMatchObject({ code: 'address-in-use' })
  await (await start(scratch.path)).close()
})

test('a damaged authority is named and left as it is', async () => {
  await using scratch = await openScratch()
  await (await start(scratch.path)).close()
  const file = join(scratch.path, 'authority', 'authority.pem')
  const damaged = (await readFile(file, 'utf8')).slice(0, 300)
  await writeFile(file, damaged)
  await expect(start(scratch.path)).rejects.toMatchObject({
    name: 'RelayError',
    why: expect.stringContaining('damaged'),
    fix: expect.stringContaining('backup'),
  })
  expect(await readFile(file, 'utf8')).toBe(damaged)
})

test('a lost authority is not quietly replaced by a new one', async () => {
  await using scratch = await openScratch()
  await (await start(scratch.path)).close()
  await rm(join(scratch.path, 'authority'), { recursive: true })
  await expect(start(scratch.path)).rejects.toMatchObject({
    code: 'not-found',
    why: expect.stringContaining('though the cluster has been in use'),
  })
})

test('the authority of another cluster is refused', async () => {
  await using ours = await openScratch()
  await using theirs = await openScratch()
  await (await start(ours.path)).close()
  await (await start(theirs.path)).close()
  await cp(join(theirs.path, 'authority'), join(ours.path, 'authority'), { recursive: true, force: true })
  await expect(start(ours.path)).rejects.toMatchObject({
    name: 'RelayError',
    why: expect.stringContaining('holds the authority of cluster'),
  })
})

test('an authority that others can read is refused, with the command that mends it', async () => {
  await using scratch = await openScratch()
  await (await start(scratch.path)).close()
  await chmod(join(scratch.path, 'authority', 'authority.pem'), 0o644)
  await expect(start(scratch.path)).rejects.toMatchObject({ fix: expect.stringContaining('chmod 600') })
})

test('a data directory that cannot be made is named', async () => {
  await using scratch = await openScratch()
  const file = join(scratch.path, 'file')
  await writeFile(file, '')
  await expect(start(join(file, 'data'))).rejects.toMatchObject({
    name: 'RelayError',
    what: expect.stringContaining(file),
  })
})

test.skipIf(process.getuid?.() === 0)('a data directory that cannot be written is named', async () => {
  await using scratch = await openScratch()
  const dataDir = join(scratch.path, 'data')
  await mkdir(dataDir, { mode: 0o500 })
  await expect(start(dataDir)).rejects.toMatchObject({
    code: 'denied',
    what: expect.stringContaining(dataDir),
  })
})

test('a name that no certificate can carry is refused before anything is written', async () => {
  await using scratch = await openScratch()
  const advertise = ['not_a_name:7443']
  await expect(start(join(scratch.path, 'data'), { advertise })).rejects.toMatchObject({ code: 'usage' })
})

test('what was created is there after a restart, and so are those who joined', async () => {
  await using controller = await openController()
  await joinAgent(controller, { name: 'edge-1', labels: { a: 'b' } })
  const { relay } = await create(controller, draft('web'))
  await controller.restart()
  const { relays } = await controller.admin.ask(c => c.listRelays, { filter: undefined })
  expect(relays).toMatchObject([{ relay: { id: relay.id, name: 'web' } }])
  const { agents } = await controller.admin.ask(c => c.listAgents, { selector: 'a=b', name: '' })
  expect(agents).toMatchObject([{ name: 'edge-1' }])
})

test('its figures can be scraped', async () => {
  await using controller = await openController({ metrics: '127.0.0.1:0' })
  const edge = await joinAgent(controller, { name: 'edge-1' })
  await using _ = await edge.settle()
  const { metrics } = controller.events('controller.listening')[0] as { metrics: string }
  const text = await (await fetch(`http://${metrics}/metrics`, { headers: { connection: 'close' } })).text()
  expect(text).toMatch(/^fleetcat_agents_enrolled 1$/m)
  expect(text).toMatch(/^fleetcat_agents_attached 1$/m)
})

import { afterEach, beforeEach, expect, test } from 'vitest'
import { keepAdminContext } from '#cli/admin-context.ts'
import { openFleet } from '#cli/client.ts'
import { logTo } from '#telemetry/log.ts'
import { revoke } from '#test/resources/drafts.ts'
import { openController, type TestController } from '#test/resources/fleet.ts'
import { openScratch } from '#test/resources/scratch.ts'
import { unary } from '#wire/call.ts'

const log = logTo({ write: () => {} }, 'test', 'silent')
let scratch: Awaited<ReturnType<typeof openScratch>>
const before = process.env.FLEETCAT_HOME
beforeEach(async () => {
  scratch = await openScratch()
  process.env.FLEETCAT_HOME = scratch.path
})
afterEach(async () => {
  if (before === undefined) delete process.env.FLEETCAT_HOME
  else process.env.FLEETCAT_HOME = before
  await scratch[Symbol.asyncDispose]()
})

async function whoAmI(context: Parameters<typeof openFleet>[0]): Promise<string> {
  const fleet = await openFleet(context)
  try {
    return (await unary(fleet.operator, fleet.operator.whoAmI, {}, { what: 'who', timeoutMs: 5_000 })).role
  } finally {
    fleet.operator.close()
  }
}

/** The controller starts, as `fleetcat up` starts it, and who started it asks who they are. */
async function roleAfterStart({ running }: TestController): Promise<{ role: string; operator: string }> {
  await using admin = await keepAdminContext(running, { log })
  return { role: await whoAmI(admin.context), operator: admin.context.operator }
}

test('a local admin who was revoked is let in again by the next start, and the log says so loudly', async () => {
  await using controller = await openController()
  const { operator } = await roleAfterStart(controller)
  expect(controller.events('operator.reinstated')).toEqual([])
  await revoke(controller, `operator/${operator}`, { reason: 'left' })
  expect(await roleAfterStart(controller)).toEqual({ role: 'admin', operator })
  expect(controller.events('operator.reinstated')).toMatchObject([
    { level: 'warn', operator, by: 'local', revokedBy: 'admin' },
  ])
})

test('a local admin who is let in keeps the certificate that there is', async () => {
  await using controller = await openController()
  await roleAfterStart(controller)
  const issued = controller.events('operator.let-in').length
  await roleAfterStart(controller)
  expect(controller.events('operator.let-in')).toHaveLength(issued)
})

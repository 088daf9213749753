import { once } from 'node:events'
import { connect, type TLSSocket } from 'node:tls'
import { describe, expect, test } from 'vitest'
import { LiftRequest, RevokeRequest } from '#gen/fleetcat/v1/operator.ts'
import { clientOptions, type TlsIdentity } from '#identity/tls.ts'
import { toDuration } from '#wire/duration.ts'
import { apply, create, draft } from '../resources/drafts.ts'
import { enlist, joinAgent, mint, openController, type TestController } from '../resources/fleet.ts'
import { redeem } from '../resources/joining.ts'
import { until } from '../resources/until.ts'

const hour = toDuration(3_600_000)
const locked = { code: 'revoked', why: expect.stringContaining('locked until') }

async function lock({ admin }: TestController, target: string): Promise<string> {
  const order = RevokeRequest.fromPartial({ target, lock: hour, reason: 'stolen' })
  return (await admin.ask(c => c.revoke, order)).revocation!.revocation!.id
}

const lift = ({ admin }: TestController, id: string) =>
  admin.ask(c => c.lift, LiftRequest.fromPartial({ id }))

describe('while its name is locked', () => {
  test('an agent comes back by no certificate, no token old or new, and no other name', async () => {
    await using controller = await openController()
    const spare = await mint(controller, { name: 'edge-1' })
    const nameless = await mint(controller, {})
    const agent = await joinAgent(controller, { name: 'edge-1' })
    await using stream = await agent.settle()
    const id = await lock(controller, 'agent/edge-1')
    await stream.await('revoke')

    await using again = agent.attach()
    expect(await again.ended).toMatchObject({ code: 'revoked' })
    await expect(redeem(spare)).rejects.toMatchObject({ code: 'denied' })
    await expect(mint(controller, { name: 'edge-1' })).rejects.toMatchObject(locked)
    await expect(redeem(nameless, { name: 'edge-1' })).rejects.toMatchObject(locked)
    const { privateKey } = agent.identity
    const other = await mint(controller, { name: 'edge-2' })
    await expect(redeem(other, { privateKey })).rejects.toMatchObject({ code: 'revoked' })
    await expect(create(controller, draft('web'))).rejects.toMatchObject({ code: 'revoked' })

    await controller.restart()
    await expect(mint(controller, { name: 'edge-1' })).rejects.toMatchObject(locked)
    await lift(controller, id)
    const fresh = await mint(controller, { name: 'edge-1' })
    await expect(redeem(fresh, { privateKey })).rejects.toMatchObject({ code: 'revoked' })
    await using back = enlist(controller, await redeem(fresh)).attach()
    await back.hear('welcome')
  })

  test('a relay is made by nobody, on no agent, by create or by apply', async () => {
    await using controller = await openController()
    await joinAgent(controller, { name: 'edge-1' })
    await joinAgent(controller, { name: 'edge-2' })
    await create(controller, draft('web'))
    const id = await lock(controller, 'relay/web')
    await expect(create(controller, draft('web'))).rejects.toMatchObject(locked)
    await expect(create(controller, draft('web', { agents: ['edge-2'] }))).rejects.toMatchObject(locked)
    await expect(apply(controller, [draft('web')])).rejects.toMatchObject(locked)
    await controller.restart()
    await expect(create(controller, draft('web'))).rejects.toMatchObject(locked)
    await lift(controller, id)
    await create(controller, draft('web'))
  })

  test('a source is shut out of hosts that join later, too', async () => {
    await using controller = await openController()
    await lock(controller, 'source/203.0.113.0/24')
    const later = await joinAgent(controller, { name: 'edge-2' })
    await using stream = later.attach()
    await stream.hear('welcome')
    expect((await stream.hear('sync')).bans).toMatchObject([{ cidr: '203.0.113.0/24' }])
  })
})

test('no session of TLS outlives the certificate that it began with', async () => {
  await using controller = await openController()
  const agent = await joinAgent(controller, { name: 'edge-1' })
  const first = await handshake(controller, agent.identity)
  expect(first.isReused).toBe(false)
  await lock(controller, 'agent/edge-1')
  const second = await handshake(controller, agent.identity, first.session)
  expect(second.isReused).toBe(false)
  await using again = agent.attach()
  expect(await again.ended).toMatchObject({ code: 'revoked' })
})

/** With the session that it was given to resume, if it was. */
async function handshake({ port }: TestController, identity: TlsIdentity, session?: Buffer) {
  const { checkServerIdentity: _, ...options } = clientOptions(identity)
  const socket: TLSSocket = connect({
    ...options,
    host: '127.0.0.1',
    port,
    servername: 'controller.fleetcat',
    ALPNProtocols: ['h2'],
    ...(session && { session }),
  })
  let offered = socket.getSession()
  let heard = false
  socket.on('session', each => {
    offered = each
  })
  socket.on('error', () => {})
  socket.on('data', () => {
    heard = true
  })
  await once(socket, 'secureConnect')
  // The server's first frame comes after its tickets would.
  await until('the server has spoken', () => heard || socket.closed)
  const found = { isReused: socket.isSessionReused(), session: offered }
  socket.destroy()
  if (!socket.closed) await once(socket, 'close')
  return found
}

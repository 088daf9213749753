import { once } from 'node:events'
import type { ClientReadableStream } from '@grpc/grpc-js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ChangeKind, OperatorServiceService, RevokeRequest } from '#gen/fleetcat/v1/operator.ts'
import { create, draft } from '#test/resources/drafts.ts'
import {
  joinAgent,
  openController,
  openOperator,
  type TestController,
  type TestOperator,
} from '#test/resources/fleet.ts'

const viewer = ['viewer', 'operator', 'admin']
const operator = ['operator', 'admin']
const admin = ['admin']

/** Who may call what. A new method has to be put here before it can be merged. */
const allowed: Record<keyof typeof OperatorServiceService, readonly string[]> = {
  getStatus: viewer,
  whoAmI: viewer,
  renewCertificate: viewer,
  listRelays: viewer,
  watchRelays: viewer,
  listAgents: viewer,
  watchAgents: viewer,
  listConnections: viewer,
  watchConnections: viewer,
  watchRevocation: viewer,
  listRevocations: viewer,
  watchDump: operator,
  probe: operator,
  openTunnel: operator,
  createRelay: operator,
  applyRelays: operator,
  revoke: operator,
  lift: operator,
  createToken: admin,
  listTokens: admin,
  revokeToken: admin,
  readAudit: operator,
}

let controller: TestController
let people: Record<string, TestOperator>
beforeAll(async () => {
  controller = await openController()
  people = {
    viewer: await openOperator(controller, 'viewer'),
    operator: await openOperator(controller, 'operator'),
    admin: await openOperator(controller, 'admin'),
  }
  // Their connections stay for the whole file.
  for (const person of Object.values(people)) await person.ask(c => c.whoAmI, {})
})
afterAll(async () => {
  for (const person of Object.values(people)) person[Symbol.dispose]()
  await controller[Symbol.asyncDispose]()
})

/** Calls a method with an empty request: whatever it answers, was the caller let in? */
async function letIn({ client }: TestOperator, name: keyof typeof OperatorServiceService): Promise<boolean> {
  const { path, requestSerialize, responseDeserialize, requestType, responseStream } = definitionOf(name)
  const request = requestType.fromPartial({})
  const denied = 7
  if (responseStream) {
    const stream = client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request)
    const code = await firstWord(stream)
    stream.cancel()
    return code !== denied
  }
  return await new Promise(resolve => {
    client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, error =>
      resolve(error?.code !== denied),
    )
  })
}

async function firstWord(stream: ClientReadableStream<unknown>): Promise<number> {
  stream.on('error', () => {})
  // Some have nothing to say to an empty request, and end.
  const first = Promise.race([once(stream, 'data'), once(stream, 'end')]).then(() => 0)
  return await first.catch((error: { code: number }) => error.code)
}

function definitionOf(name: keyof typeof OperatorServiceService) {
  const definition = OperatorServiceService[name]
  const types = definition as unknown as { requestSerialize(value: unknown): Buffer }
  const empty = Buffer.alloc(0)
  return {
    path: definition.path,
    requestSerialize: types.requestSerialize,
    responseDeserialize: (bytes: Buffer) => bytes,
    requestType: { fromPartial: (_: object) => definition.requestDeserialize(empty) as unknown },
    responseStream: definition.responseStream,
  }
}

test('every method of the service has its row', () => {
  expect(Object.keys(allowed).sort()).toEqual(Object.keys(OperatorServiceService).sort())
})

describe.each(['viewer', 'operator', 'admin'])('%s', role => {
  test.each(Object.keys(allowed) as (keyof typeof allowed)[])('%s', async method => {
    expect(await letIn(people[role]!, method)).toBe(allowed[method].includes(role))
  })
})

describe('who strikes off whom', () => {
  const revoke = (person: TestOperator, target: string, dryRun = false) =>
    person.ask(c => c.revoke, RevokeRequest.fromPartial({ target, dryRun }))

  test.each(['agent/edge-1', 'operator/test-viewer', 'operator/admin'])(
    'an operator does not revoke %s',
    async target => {
      for (const dryRun of [true, false]) {
        await expect(revoke(people.operator!, target, dryRun)).rejects.toMatchObject({
          code: 'denied',
          what: `revoke ${target}`,
          why: 'test-operator has the role operator, and this needs admin',
        })
      }
    },
  )

  test('an operator revokes relays and connections', async () => {
    for (const target of ['relay/none', 'conn/none'])
      await expect(revoke(people.operator!, target)).rejects.toMatchObject({ code: 'not-found' })
  })

  test('the last admin stays, even if two try to revoke each other at once', async () => {
    await using fresh = await openController()
    await expect(revoke(fresh.admin, 'operator/admin')).rejects.toMatchObject({
      code: 'conflict',
      why: expect.stringContaining('the last admin'),
      fix: expect.stringContaining('--role admin'),
    })
    using second = await openOperator(fresh, 'admin', 'second')
    await second.ask(c => c.whoAmI, {})
    const outcomes = await Promise.allSettled([
      revoke(fresh.admin, 'operator/second'),
      revoke(second, 'operator/admin'),
    ])
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  })
})

test('a viewer asks what files would change, prune included, and changes nothing', async () => {
  await joinAgent(controller, { name: 'edge-1' })
  await create(controller, draft('kept', {}, { labels: { set: 'x' } }))
  const ask = (person: TestOperator, dryRun: boolean) =>
    person.ask(c => c.applyRelays, {
      drafts: [draft('other')],
      prune: true,
      pruneSelector: 'set=x',
      requestId: '',
      dryRun,
    })
  const { changes } = await ask(people.viewer!, true)
  expect(changes.map(({ kind, name }) => [kind, name])).toEqual([
    [ChangeKind.CREATED, 'other'],
    [ChangeKind.PRUNED, 'kept'],
  ])
  await expect(ask(people.viewer!, false)).rejects.toMatchObject({ code: 'denied', what: 'applyRelays' })
  const { relays } = await people.viewer!.ask(c => c.listRelays, { filter: undefined })
  expect(relays.map(({ relay }) => relay!.name)).toEqual(['kept'])
  const { revocations } = await people.viewer!.ask(c => c.listRevocations, { id: '' })
  expect(revocations).toEqual([])
})

test('whoever is denied is told the role and whom to ask', async () => {
  await expect(people.viewer!.ask(c => c.listTokens, {})).rejects.toMatchObject({
    code: 'denied',
    why: 'test-viewer has the role viewer, and this needs admin',
    fix: expect.stringContaining('fleetcat token create operator --name test-viewer'),
  })
})

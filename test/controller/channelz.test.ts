import { getChannelzHandlers } from '@grpc/grpc-js'
import { expect, test } from 'vitest'
import { openController } from '#test/resources/fleet.ts'

test('no records are kept of calls and connections that nobody can ask for', async () => {
  await using controller = await openController()
  await controller.admin.ask(client => client.getStatus, {})
  const servers = await new Promise<unknown[]>((resolve, reject) => {
    const { GetServers } = getChannelzHandlers() as unknown as {
      GetServers(call: object, answer: (error: unknown, value: { server: unknown[] }) => void): void
    }
    GetServers({ request: { start_server_id: '0', max_results: '10' } }, (error, { server }) =>
      error ? reject(error) : resolve(server),
    )
  })
  expect(servers).toEqual([])
})

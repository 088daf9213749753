import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { OperatorServiceClient } from '#gen/fleetcat/v1/operator.ts'
import { loadIdentity } from '#identity/files.ts'
import { clientOptions } from '#identity/tls.ts'
import { unary } from '#wire/call.ts'
import { channelCredentials, channelOptions } from '#wire/channel.ts'
import type { TestOperator } from '../resources/fleet.ts'

/** The operator whom the command has let in when a controller started, by what it wrote into this home. */
export async function operatorIn(home: string): Promise<TestOperator> {
  const { contexts } = JSON.parse(await readFile(join(home, 'config.yaml'), 'utf8'))
  const [{ name, addresses }] = contexts
  const identity = await loadIdentity(join(home, 'contexts', name))
  if (!identity) throw new Error(`${home} has no identity of ${name}`)
  const client = new OperatorServiceClient(
    addresses[0],
    channelCredentials(clientOptions(identity)),
    channelOptions,
  )
  return {
    identity,
    client,
    ask: (method, request) =>
      unary(client, method(client), request, { what: 'the test asks', timeoutMs: 10_000 }),
    [Symbol.dispose]: () => client.close(),
  }
}

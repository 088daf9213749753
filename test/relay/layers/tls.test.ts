import { readFileSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import { afterAll } from 'vitest'
import { memoryPair } from '#relay/endpoints/memory-pair.ts'
import { tlsClient, tlsServer } from '#relay/layers/tls.ts'
import { conformance, type Pair } from '#test/conformance/endpoint.ts'
import { openContext } from '#test/resources/contexts.ts'
import { openPki } from '#test/resources/pki.ts'

const pki = openPki()
afterAll(() => pki[Symbol.dispose]())
const { cert, key } = pki.issue({ name: 'orders' })

const { layer: server } = tlsServer(
  {
    what: 'the server',
    options: { cert: readFileSync(cert), key: readFileSync(key) },
    asks: false,
    peer: { verified: false },
  },
  10_000,
)
const client = tlsClient(
  {
    what: 'the client',
    context: createSecureContext({ ca: readFileSync(pki.ca) }),
    serverName: 'orders',
    alpn: undefined,
    peer: { verified: true, commonName: 'orders' },
  },
  10_000,
)

async function pair(): Promise<Pair & { reversed: Pair }> {
  const [inner, outer] = memoryPair({ text: 'memory:orders' }, { text: 'memory:orders#1' })
  const [near, far] = await Promise.all([client(inner, openContext()), server(outer, openContext())])
  const dispose = async () => {
    await near[Symbol.asyncDispose]()
    await far[Symbol.asyncDispose]()
  }
  const both = { near, far, [Symbol.asyncDispose]: dispose }
  return { ...both, reversed: { ...both, near: far, far: near } }
}

conformance('TLS over memory, the side that speaks first', { resets: true, open: pair })

conformance('TLS over memory, the side that answers', {
  resets: true,
  open: async () => (await pair()).reversed,
})

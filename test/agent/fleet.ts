import { randomBytes } from 'node:crypto'
import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ServerCredentials, status } from '@grpc/grpc-js'
import { createAuthority } from '#identity/ca.ts'
import { readCsr } from '#identity/csr.ts'
import { generateKey, keyToPem, publicHalf } from '#identity/keys.ts'
import { mintToken } from '#identity/token.ts'
import { openController } from './controller.ts'

const hour = 3_600_000

/** A controller over TLS with an authority of its own that lets agents join, once a token, and a data directory for one. */
export async function openFleet({ lifetimeMs = hour, clock = () => new Date(), nameless = false } = {}) {
  const authority = await createAuthority({ cluster: 'test' })
  const key = await generateKey()
  const leaf = await authority.issue({
    kind: 'controller',
    name: 'c1',
    publicKey: publicHalf(key),
    lifetimeMs: hour,
  })
  const ca = authority.certificatePem
  const pair = { private_key: Buffer.from(keyToPem(key)), cert_chain: Buffer.from(leaf + ca) }
  const enrolled: string[] = []
  const used = new Set<string>()

  const issue = (csrDer: Buffer, name: string, life = lifetimeMs) =>
    authority.issue({ kind: 'agent', name, publicKey: readCsr(csrDer).publicKey, lifetimeMs: life, clock })

  const server = await openController(
    ServerCredentials.createSsl(Buffer.from(ca), [pair], false),
    0,
    async ({ request }, answer) => {
      if (used.has(request.tokenId)) {
        answer({ code: status.PERMISSION_DENIED, details: 'the token is used up' })
        return
      }
      if (nameless && !request.name) {
        answer({ code: status.INVALID_ARGUMENT, details: 'neither the token nor the newcomer says a name' })
        return
      }
      used.add(request.tokenId)
      const name = request.name || 'edge-1'
      enrolled.push(name)
      const certificatePem = await issue(request.csrDer, name)
      answer(null, {
        cluster: 'test',
        name,
        certificatePem,
        authorityPem: ca,
        labels: { site: 'paris' },
        role: '',
      })
    },
  )
  const home = await mkdtempDisposable(join(tmpdir(), 'fleetcat-agent-'))
  const { address } = server
  return {
    ...server,
    home: home.path,
    dataDir: join(home.path, 'data'),
    enrolled,
    issue,
    ca,
    token: (more: { kind?: 'agent' | 'operator'; pin?: string; addresses?: string[] } = {}) =>
      mintToken({
        kind: 'agent',
        id: randomBytes(8).toString('hex'),
        addresses: [address],
        pin: authority.pin,
        ...more,
      }).text,
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]()
      await home.remove()
    },
  }
}

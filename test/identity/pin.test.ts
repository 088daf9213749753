import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import type { TlsOptions } from 'node:tls'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Authority, createAuthority } from '#identity/ca.ts'
import { signCertificate } from '#identity/certificate.ts'
import { generateKey, keyToPem, publicHalf } from '#identity/keys.ts'
import { fetchAuthority } from '#identity/pin.ts'
import { serverOptions } from '#identity/tls.ts'
import { failureOf, issued, listen } from './fixtures.ts'

const day = 86_400_000
const { signal } = new AbortController()

let authority: Authority
let controller: TlsOptions
beforeAll(async () => {
  authority = await createAuthority({ cluster: 'prod' })
  controller = serverOptions(await issued(authority, 'controller', 'one'))
})

const ask = async (options: TlsOptions, pin = authority.pin, extra = {}) => {
  await using server = await listen(options)
  return await fetchAuthority('127.0.0.1', server.port, pin, { signal, ...extra })
}

/** A server of plain bytes; whoever comes in is handed to `meet`. */
async function plainServer(meet: (socket: Socket) => void): Promise<{ port: number } & AsyncDisposable> {
  const sockets: Socket[] = []
  const server: Server = createServer(socket => {
    sockets.push(socket)
    socket.on('error', () => {})
    meet(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** A certificate that claims to come from the real authority, and one that claims to be it. Both hold the real public key. */
async function pretences() {
  const key = await generateKey()
  const validity = { notBefore: new Date(Date.now() - day), notAfter: new Date(Date.now() + day) }
  const title = { cluster: 'prod', name: 'fleetcat authority' }
  const common = { issuer: title, issuerPublicKey: authority.certificate.publicKey, validity }
  const leaf = await signCertificate(
    {
      ...common,
      subject: { cluster: 'prod', name: 'one' },
      publicKey: publicHalf(key),
      role: 'leaf',
      names: [{ uri: 'spiffe://prod/controller/one' }, { host: 'controller.fleetcat' }],
      usages: ['serverAuth'],
    },
    key,
  )
  const forged = await signCertificate(
    {
      ...common,
      subject: title,
      publicKey: authority.certificate.publicKey,
      role: 'authority',
      names: [{ uri: 'spiffe://prod' }],
      usages: [],
    },
    key,
  )
  return { key: keyToPem(key), leaf: leaf.toString(), forged: forged.toString() }
}

describe('a newcomer with a pin', () => {
  it('gets the authority from a controller', async () => {
    expect(await ask(controller)).toEqual({ caPem: authority.certificatePem })
  })

  it('refuses another controller, though it is called alike', async () => {
    const other = await createAuthority({ cluster: 'prod' })
    const failure = await failureOf(ask(serverOptions(await issued(other, 'controller', 'one'))))
    expect(failure).toMatchObject({ name: 'IdentityError', code: 'untrusted' })
    expect(failure.message).toContain('another controller, or somebody in between')
    expect(await failureOf(ask(controller, 'f'.repeat(64)))).toMatchObject({ code: 'untrusted' })
  })

  it('refuses somebody who shows the right authority beside a certificate that it never signed', async () => {
    const { key, leaf, forged } = await pretences()
    for (const ca of [authority.certificatePem, forged]) {
      const failure = await failureOf(ask({ key, cert: leaf + ca }))
      expect(failure).toMatchObject({ code: 'untrusted', why: expect.stringContaining('did not sign') })
    }
  })

  it('refuses an authority that was made up around the right key, even from a real controller', async () => {
    const { key, cert } = await issued(authority, 'controller', 'two')
    const { forged } = await pretences()
    const failure = await failureOf(ask({ key, cert: cert + forged }))
    expect(failure).toMatchObject({ code: 'untrusted', why: expect.stringContaining('did not sign') })
  })

  it('refuses an agent that poses as a controller', async () => {
    const { key, cert, ca } = await issued(authority, 'agent', 'edge-1')
    expect(await failureOf(ask({ key, cert: cert + ca }))).toMatchObject({ code: 'untrusted' })
  })

  it('refuses a server that keeps its authority to itself', async () => {
    const { key, cert } = await issued(authority, 'controller', 'one')
    expect(await failureOf(ask({ key, cert }))).toMatchObject({ code: 'untrusted' })
  })

  it('compares the clocks when they disagree', async () => {
    const at = (offset: number) =>
      ask(controller, authority.pin, { clock: () => new Date(Date.now() + offset) })
    const slow = await failureOf(at(-3_600_000))
    expect(slow).toMatchObject({ code: 'not-yet-valid' })
    expect(slow.message).toMatch(
      /this host's clock says .* UTC; the certificate is valid from .* check the clock/i,
    )
    expect(await failureOf(at(2 * 3_600_000))).toMatchObject({ code: 'expired' })
    expect(await failureOf(at(400 * day))).toMatchObject({ code: 'expired' })
    expect(await failureOf(at(-400 * day))).toMatchObject({ code: 'not-yet-valid' })
  })

  it('says when what answers does not speak TLS 1.3', async () => {
    await using web = await plainServer(socket => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))
    const failure = await failureOf(fetchAuthority('127.0.0.1', web.port, authority.pin, { signal }))
    expect(failure).toMatchObject({
      code: 'untrusted',
      why: expect.stringContaining('does not speak TLS 1.3'),
    })
    const old = { ...controller, minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' } as const
    expect(await failureOf(ask(old))).toMatchObject({
      why: expect.stringContaining('does not speak TLS 1.3'),
    })
  })

  it('leaves the errors of the system as they are', async () => {
    const at = (port: number) => failureOf(fetchAuthority('127.0.0.1', port, authority.pin, { signal }))
    const closing = await plainServer(socket => socket.destroy())
    try {
      expect(await at(closing.port)).toMatchObject({ code: 'ECONNRESET' })
    } finally {
      await closing[Symbol.asyncDispose]()
    }
    expect(await at(closing.port)).toMatchObject({ code: 'ECONNREFUSED' })
  })

  it('stops waiting for a silent server when it is told to', async () => {
    const stop = new AbortController()
    await using silent = await plainServer(() => stop.abort(new Error('enough')))
    const asking = fetchAuthority('127.0.0.1', silent.port, authority.pin, { signal: stop.signal })
    expect((await failureOf(asking)).message).toBe('enough')
    const again = fetchAuthority('127.0.0.1', silent.port, authority.pin, { signal: stop.signal })
    expect((await failureOf(again)).message).toBe('enough')
  })
})

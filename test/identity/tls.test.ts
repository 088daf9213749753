import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createSecureContext, type TlsOptions } from 'node:tls'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Authority, createAuthority } from '#identity/ca.ts'
import { signCertificate } from '#identity/certificate.ts'
import { generateKey, keyToPem, publicHalf } from '#identity/keys.ts'
import { identityOf } from '#identity/name.ts'
import { clientOptions, serverOptions, type TlsIdentity } from '#identity/tls.ts'
import { dial, failureOf, issued, listen, openssl, temporaryDirectory } from './fixtures.ts'

const day = 86_400_000

let authority: Authority
let foreign: Authority
let controller: TlsIdentity
let agent: TlsIdentity
let operator: TlsIdentity

beforeAll(async () => {
  authority = await createAuthority({ cluster: 'prod' })
  // It calls itself like ours, as an impostor would.
  foreign = await createAuthority({ cluster: 'prod' })
  controller = await issued(authority, 'controller', 'one')
  agent = await issued(authority, 'agent', 'edge-1')
  operator = await issued(authority, 'operator', 'ann')
})

/** What a server sees of a client that shows these certificates, whatever the client thinks of the server. */
async function seen(client: Partial<TlsIdentity>) {
  await using server = await listen(serverOptions(controller))
  const options = { ...client, ca: authority.certificatePem, servername: 'controller.fleetcat' }
  await using _ = await dial(server.port, options)
  const socket = await server.accepted()
  const { authorized, authorizationError } = socket
  return { authorized, authorizationError, certificate: socket.getPeerX509Certificate() }
}

/** A certificate for anything, signed by a leaf, and the chain that leads from it to the real authority. */
async function signedByLeaf(kind: 'agent' | 'controller'): Promise<TlsIdentity> {
  const signer = await issued(authority, 'agent', 'evil')
  const key = await generateKey()
  const forged = await signCertificate(
    {
      issuer: { cluster: 'prod', unit: 'agent', name: 'evil' },
      subject: { cluster: 'prod', unit: kind, name: 'root' },
      publicKey: publicHalf(key),
      issuerPublicKey: publicHalf(signer.privateKey),
      validity: { notBefore: new Date(Date.now() - day), notAfter: new Date(Date.now() + day) },
      role: 'leaf',
      names: [{ uri: `spiffe://prod/${kind}/root` }, { host: 'controller.fleetcat' }],
      usages: ['clientAuth', 'serverAuth'],
    },
    signer.privateKey,
  )
  return { key: keyToPem(key), cert: forged.toString() + signer.cert + signer.ca, ca: signer.ca }
}

/** A server with any certificate at all. */
const impostor = ({ key, cert }: TlsIdentity): TlsOptions => ({ key, cert, ALPNProtocols: ['h2'] })

describe('the controller', () => {
  it('and its clients know each other, over TLS 1.3 and HTTP/2', async () => {
    await using server = await listen(serverOptions(controller))
    for (const [client, name] of [
      [agent, { cluster: 'prod', kind: 'agent', name: 'edge-1' }],
      [operator, { cluster: 'prod', kind: 'operator', name: 'ann' }],
    ] as const) {
      await using dialled = await dial(server.port, clientOptions(client))
      const socket = await server.accepted()
      expect(dialled.socket.authorized).toBe(true)
      expect(dialled.socket.getProtocol()).toBe('TLSv1.3')
      expect(dialled.socket.alpnProtocol).toBe('h2')
      expect(socket.authorized).toBe(true)
      expect(identityOf(socket.getPeerX509Certificate()!)).toEqual(name)
    }
  })

  it('tells a peer without a certificate from one with a bad one, and authorises neither', async () => {
    await using server = await listen(serverOptions(controller))
    await using dialled = await dial(server.port, clientOptions({ ca: authority.certificatePem }))
    const socket = await server.accepted()
    expect(dialled.socket.authorized).toBe(true)
    expect(socket.authorized).toBe(false)
    expect(socket.getPeerX509Certificate()).toBeUndefined()
    const stranger = await seen(await issued(foreign, 'agent', 'edge-1'))
    expect(stranger.authorized).toBe(false)
    expect(stranger.certificate).toBeDefined()
  })

  it('does not authorise expired, early, or misused certificates', async () => {
    const old = await createAuthority({ cluster: 'prod', clock: () => new Date(Date.now() - 30 * day) })
    const options = { ...serverOptions(await issued(old, 'controller', 'one')), ca: old.certificatePem }
    await using server = await listen(options)
    const judge = async (client: TlsIdentity) => {
      await using _ = await dial(server.port, {
        ...client,
        ca: old.certificatePem,
        servername: 'controller.fleetcat',
      })
      return (await server.accepted()).authorizationError
    }
    const at = (offset: number) => issued(old, 'agent', 'a', { clock: () => new Date(Date.now() + offset) })
    expect(await judge(await at(-day))).toBe('CERT_HAS_EXPIRED')
    expect(await judge(await at(day))).toBe('CERT_NOT_YET_VALID')
    expect(await judge(await issued(old, 'controller', 'two'))).toBe('INVALID_PURPOSE')
    expect(await judge(await at(0))).toBeNull()
  })

  it('does not authorise what a leaf has signed', async () => {
    const { authorized, authorizationError } = await seen(await signedByLeaf('agent'))
    expect(authorized).toBe(false)
    // OpenSSL found the whole chain and refused the leaf in its middle; Node has no name for one of its reasons.
    expect(authorizationError).toMatch(/INVALID_CA|UNSPECIFIED/)
  })

  it('refuses TLS 1.2', async () => {
    await using server = await listen(serverOptions(controller))
    const options = { ...clientOptions(agent), minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' } as const
    expect(await failureOf(dial(server.port, options))).toMatchObject({
      code: 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION',
    })
    const failure = await failureOf(openssl('s_client', '-tls1_2', '-connect', `127.0.0.1:${server.port}`))
    expect(failure.message).toContain('protocol version')
  })

  it('closes on a peer that talks of anything but HTTP/2', async () => {
    await using server = await listen(serverOptions(controller))
    const failure = await failureOf(
      dial(server.port, { ...clientOptions(agent), ALPNProtocols: ['http/1.1'] }),
    )
    expect(failure).toMatchObject({ code: 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL' })
  })
})

describe('a session', () => {
  /** Whether a client that keeps what it was given gets in again without its certificate. */
  async function resumed(options: TlsOptions): Promise<{ reused: boolean; authorized: boolean }> {
    await using server = await listen(options)
    await using first = await dial(server.port, clientOptions(agent))
    expect((await server.accepted()).authorized).toBe(true)
    while (first.sessions.length === 0) await once(first.socket, 'session')
    const session = first.sessions.at(-1)!
    await using _ = await dial(server.port, { ...clientOptions({ ca: authority.certificatePem }), session })
    const again = await server.accepted()
    return { reused: again.isSessionReused(), authorized: again.authorized }
  }

  async function resumedByOpenssl(options: TlsOptions): Promise<string> {
    await using directory = await temporaryDirectory()
    await using server = await listen(options)
    const file = join(directory.path, 'session')
    await greetedOpenssl(server.port, '-sess_out', file)
    return await greetedOpenssl(server.port, '-sess_in', file)
  }

  it('is never resumed', async () => {
    expect(await resumed(serverOptions(controller))).toEqual({ reused: false, authorized: false })
    expect(await resumedByOpenssl(serverOptions(controller))).toMatch(/^New, TLSv1.3/m)
  })

  it('would be resumed, and trusted without a certificate, if tickets were allowed', async () => {
    const careless = { ...serverOptions(controller), secureOptions: 0 }
    expect(await resumed(careless)).toEqual({ reused: true, authorized: true })
    expect(await resumedByOpenssl(careless)).toMatch(/^Reused, TLSv1.3/m)
  })
})

describe('a client', () => {
  const failure = async (options: TlsOptions, client: TlsIdentity = agent) => {
    await using server = await listen(options)
    return await failureOf(dial(server.port, clientOptions(client)))
  }

  it('refuses a server of another authority, though it is called like ours', async () => {
    expect(await failure(serverOptions(await issued(foreign, 'controller', 'one')))).toMatchObject({
      code: expect.stringMatching(/SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_VERIFY|CERT_SIGNATURE_FAILURE/),
    })
  })

  it('refuses an agent and an operator that pose as a controller', async () => {
    expect(await failure(impostor(agent))).toMatchObject({ code: 'ERR_TLS_CERT_ALTNAME_INVALID' })
    expect(await failure(impostor(operator))).toMatchObject({ code: 'INVALID_PURPOSE' })
  })

  it('refuses a certificate of ours that has the right host name and the wrong identity', async () => {
    const key = await generateKey()
    const home = await temporaryAuthority()
    const odd = await home.sign(publicHalf(key), 'spiffe://prod/agent/edge-2')
    await using server = await listen(impostor({ key: keyToPem(key), cert: odd, ca: home.ca }))
    const client = clientOptions({ ca: home.ca })
    expect(await failureOf(dial(server.port, client))).toMatchObject({
      name: 'IdentityError',
      code: 'untrusted',
      why: 'what answers is agent edge-2 of cluster prod, not a controller of prod',
    })
    const foreignCluster = await home.sign(publicHalf(key), 'spiffe://test/controller/one')
    await using other = await listen(impostor({ key: keyToPem(key), cert: foreignCluster, ca: home.ca }))
    expect(await failureOf(dial(other.port, client))).toMatchObject({ code: 'untrusted' })
    const nobody = await home.sign(publicHalf(key), 'https://controller.fleetcat')
    await using third = await listen(impostor({ key: keyToPem(key), cert: nobody, ca: home.ca }))
    expect(await failureOf(dial(third.port, client))).toMatchObject({ code: 'invalid' })
  })

  it('refuses what a leaf has signed', async () => {
    const { message } = await failure(impostor(await signedByLeaf('controller')))
    expect(message).toMatch(/key usage does not include certificate signing|invalid CA certificate/)
  })

  it('refuses TLS 1.2', async () => {
    const old = { ...serverOptions(controller), minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' } as const
    expect(await failure(old)).toMatchObject({ code: expect.stringMatching(/PROTOCOL_VERSION/) })
  })

  it('refuses strangers even where the environment says to trust everybody', async () => {
    process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'
    try {
      const stranger = serverOptions(await issued(foreign, 'controller', 'one'))
      expect(await failure(stranger)).toBeInstanceOf(Error)
    } finally {
      delete process.env.NODE_TLS_REJECT_UNAUTHORIZED
    }
  })

  it('refuses a controller whose certificate has ended', async () => {
    const old = await createAuthority({ cluster: 'prod', clock: () => new Date(Date.now() - 30 * day) })
    const ended = await issued(old, 'controller', 'one', { clock: () => new Date(Date.now() - day) })
    await using server = await listen(serverOptions(ended))
    const options = clientOptions({ ca: old.certificatePem })
    expect(await failureOf(dial(server.port, options))).toMatchObject({ code: 'CERT_HAS_EXPIRED' })
  })
})

/** Lets the openssl program connect and leave once it has read the greeting, and with it all that TLS sends before. */
async function greetedOpenssl(port: number, ...args: string[]): Promise<string> {
  const child = spawn('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, ...args])
  child.stderr.resume()
  const gone = once(child, 'close')
  let text = ''
  for await (const chunk of child.stdout) {
    text += chunk
    if (text.includes('hello')) child.stdin.end()
  }
  await gone
  return text
}

describe('TLS options', () => {
  it('are made of one certificate each, so that nothing rides along unread', () => {
    for (const cert of ['', 'hello', controller.cert + agent.cert, controller.key]) {
      expect(() => serverOptions({ ...controller, cert })).toThrow('one certificate in PEM')
      expect(() => clientOptions({ ...agent, cert })).toThrow('one certificate in PEM')
    }
    expect(() => clientOptions({ ca: agent.cert })).toThrow('spiffe://<cluster>')
  })

  it('make a secure context', () => {
    expect(createSecureContext(serverOptions(controller))).toBeDefined()
    expect(createSecureContext(clientOptions(agent))).toBeDefined()
  })
})

/** An authority that signs what ours never would. */
async function temporaryAuthority() {
  const key = await generateKey()
  const publicKey = publicHalf(key)
  const validity = { notBefore: new Date(Date.now() - day), notAfter: new Date(Date.now() + day) }
  const title = { cluster: 'prod', name: 'fleetcat authority' }
  const common = { issuer: title, issuerPublicKey: publicKey, validity }
  const own = await signCertificate(
    {
      ...common,
      subject: title,
      publicKey,
      role: 'authority',
      names: [{ uri: 'spiffe://prod' }],
      usages: [],
    },
    key,
  )
  return {
    ca: own.toString(),
    async sign(leafKey: ReturnType<typeof publicHalf>, uri: string): Promise<string> {
      const leaf = await signCertificate(
        {
          ...common,
          subject: { cluster: 'prod', name: 'odd' },
          publicKey: leafKey,
          role: 'leaf',
          names: [{ uri }, { host: 'controller.fleetcat' }],
          usages: ['serverAuth'],
        },
        key,
      )
      return leaf.toString()
    },
  }
}

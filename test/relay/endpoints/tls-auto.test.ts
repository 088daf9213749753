import { X509Certificate } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { createAuthority } from '#identity/ca.ts'
import { generateKey, keyToPem, publicHalf } from '#identity/keys.ts'
import type { Certificates, Channel, FleetCertificate, Listener } from '#relay/endpoint.ts'
import { bindAddress, certificateWishes } from '#relay/endpoints/index.ts'
import { openContext } from '#test/resources/contexts.ts'

const authority = await createAuthority({ cluster: 'prod' })
const stranger = await createAuthority({ cluster: 'prod' })

async function issued(relay: string, hosts: string[], by = authority): Promise<FleetCertificate> {
  const key = await generateKey()
  const certificate = await by.issueForRelay({
    relay,
    agent: 'edge-1',
    publicKey: publicHalf(key),
    lifetimeMs: 3_600_000,
    hosts,
    usages: ['serverAuth', 'clientAuth'],
  })
  return { key: keyToPem(key), certificate, authority: by.certificatePem }
}

/** What an agent has for one relay, renewed when the test says so. */
async function openCertificates(relay: string, hosts: string[], by = authority) {
  let now = await issued(relay, hosts, by)
  const listeners = new Set<(renewed: FleetCertificate) => void>()
  const certificates: Certificates = {
    obtain: async () => now,
    onRenewed(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
  return {
    certificates,
    listeners,
    async renew() {
      now = await issued(relay, hosts, by)
      for (const listener of listeners) listener(now)
    },
    print: () => new X509Certificate(now.certificate).fingerprint256,
  }
}

const listen = (text: string, certificates?: Certificates): Promise<Listener> =>
  bindAddress(text).acceptor!.listen(openContext(certificates && { certificates }))
const dial = (text: string, certificates?: Certificates): Promise<Channel> =>
  bindAddress(text).dialer!.dial(openContext(certificates && { certificates }))

/** Both ends of one connection; whoever is refused at the door leaves the far end waiting, and the test does not. */
async function meet(listener: Listener, dialling: Promise<Channel>) {
  const arrival = listener[Symbol.asyncIterator]().next()
  const dialled = await dialling
  const { value: accepted } = await arrival
  return {
    dialled,
    accepted: accepted as Channel,
    async [Symbol.asyncDispose]() {
      await dialled[Symbol.asyncDispose]()
      await (accepted as Channel)[Symbol.asyncDispose]()
    },
  }
}

const door = 'OPENSSL-LISTEN:0,bind=127.0.0.1,fork,cert=auto'

describe('cert=auto', () => {
  test('on both sides: each shows its own, and trusts the fleet', async () => {
    const web = await openCertificates('web', ['127.0.0.1'])
    const app = await openCertificates('app', [])
    await using listener = await listen(`${door},identity=spiffe://prod/relay/app/edge-1`, web.certificates)
    await using pair = await meet(listener, dial(`OPENSSL:${listener.local},cert=auto`, app.certificates))
    expect(pair.accepted.peer.identity).toBe('spiffe://prod/relay/app/edge-1')
    expect(pair.dialled.peer.identity).toBe('spiffe://prod/relay/web/edge-1')
  })

  test('of a server for another name, and of another authority, is refused', async () => {
    const app = await openCertificates('app', [])
    const elsewhere = await openCertificates('web', ['web.example.com'])
    await using listener = await listen(`${door},verify=0`, elsewhere.certificates)
    const refused = dial(`OPENSSL:${listener.local},cert=auto`, app.certificates)
    await expect(refused).rejects.toMatchObject({ code: 'unauthenticated' })

    const forged = await openCertificates('web', ['127.0.0.1'], stranger)
    await using impostor = await listen(`${door},verify=0`, forged.certificates)
    const deceived = dial(`OPENSSL:${impostor.local},cert=auto`, app.certificates)
    await expect(deceived).rejects.toMatchObject({ code: 'unauthenticated' })
  })

  test('is renewed under a listener: who is there stays, who comes next is shown the new one', async () => {
    const web = await openCertificates('web', ['127.0.0.1'])
    const app = await openCertificates('app', [])
    const listener = await listen(door, web.certificates)
    const pinned = () => `OPENSSL:${listener.local},cert=auto,fingerprint=${web.print()}`
    try {
      const first = pinned()
      await using before = await meet(listener, dial(first, app.certificates))
      await web.renew()
      await app.renew()
      await using after = await meet(listener, dial(pinned(), app.certificates))
      expect(after.accepted.peer.certificate?.()?.fingerprint256).toBe(app.print())
      await expect(dial(first, app.certificates)).rejects.toMatchObject({ code: 'unauthenticated' })
      before.dialled.stream.write('still here')
      const [said] = await new Promise<Buffer[]>(resolve => {
        before.accepted.stream.once('data', (...data) => resolve(data))
      })
      expect(String(said)).toBe('still here')
    } finally {
      await listener[Symbol.asyncDispose]()
    }
    expect(web.listeners.size).toBe(0)
  })

  test('where no fleet is says what to write', async () => {
    const refusal = { code: 'unsupported', fix: expect.stringContaining('cert=FILE') }
    await expect(listen(door)).rejects.toMatchObject(refusal)
    await expect(dial('OPENSSL:127.0.0.1:1,cert=auto')).rejects.toMatchObject(refusal)
  })

  test('is not waited for when the opening is called off', async () => {
    const asked = Promise.withResolvers<void>()
    const certificates: Certificates = {
      obtain() {
        asked.resolve()
        return new Promise(() => {})
      },
      onRenewed: () => () => {},
    }
    const calledOff = new AbortController()
    const opening = bindAddress(door).acceptor!.listen(
      openContext({ certificates, signal: calledOff.signal }),
    )
    await asked.promise
    calledOff.abort()
    await expect(opening).rejects.toMatchObject({ code: 'closed' })
  })
})

test.each([
  ['OPENSSL-LISTEN:1,cert=auto', { side: 'server', names: [], namesHost: true }],
  ['OPENSSL-LISTEN:1,cert=auto,bind=10.0.0.5', { side: 'server', names: ['10.0.0.5'], namesHost: true }],
  [
    'OPENSSL-LISTEN:1,cert=auto,bind=127.0.0.1',
    { side: 'server', names: ['127.0.0.1', 'localhost'], namesHost: true },
  ],
  ['OPENSSL-LISTEN:1,cert=auto,bind=[::1]', { side: 'server', names: ['::1', 'localhost'], namesHost: true }],
  [
    'OPENSSL-LISTEN:1,cert=auto,bind=127.0.0.1,cert-names=Web.example.com;[2001:DB8::5]',
    { side: 'server', names: ['web.example.com', '2001:db8::5'], namesHost: false },
  ],
])('a listener %s asks for what its address names', (listen, wish) => {
  expect(certificateWishes({ listen, targets: ['TCP:localhost:1'] })).toEqual([wish])
})

test('targets, halves of dual ones, and those of a tee ask as clients', () => {
  const wish = { side: 'client', names: [], namesHost: false }
  const listen = 'TCP-LISTEN:1'
  const auto = 'OPENSSL:api:443,cert=auto'
  expect(certificateWishes({ listen, targets: ['TCP:a:1', auto] })).toEqual([wish])
  expect(certificateWishes({ listen, targets: [`TCP:a:1!!${auto}`] })).toEqual([wish])
  expect(certificateWishes({ listen, targets: ['TCP:a:1'], tee: [auto] })).toEqual([wish])
  expect(certificateWishes({ listen, targets: ['OPENSSL:api:443,cert=./auto'] })).toEqual([])
})

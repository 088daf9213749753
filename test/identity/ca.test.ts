import { generateKeyPairSync, X509Certificate } from 'node:crypto'
import { stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import tls from 'node:tls'
import { describe, expect, it } from 'vitest'
import { createAuthority, loadAuthority, openAuthority } from '#identity/ca.ts'
import { identityOf } from '#identity/name.ts'
import { failureOf, issued, openssl, sha256, temporaryDirectory } from './fixtures.ts'

const day = 86_400_000

describe('an authority', () => {
  it('makes chains that OpenSSL verifies strictly, each for its purpose only', async () => {
    await using directory = await temporaryDirectory()
    const authority = await createAuthority({ cluster: 'prod' })
    const ca = await directory.file('ca.pem', authority.certificatePem)
    const purposes = { controller: ['sslserver'], agent: ['sslclient', 'sslserver'], operator: ['sslclient'] }
    for (const kind of ['controller', 'agent', 'operator'] as const) {
      const leaf = await directory.file(`${kind}.pem`, (await issued(authority, kind, 'one')).cert)
      for (const purpose of ['sslclient', 'sslserver']) {
        const verdict = openssl('verify', '-x509_strict', '-purpose', purpose, '-CAfile', ca, leaf)
        if (purposes[kind].includes(purpose)) expect(await verdict).toContain('OK')
        else expect(String(await failureOf(verdict))).toMatch(/unsuitable certificate purpose/)
      }
    }
  })

  it('limits itself to signing leaves, for ten years', async () => {
    await using directory = await temporaryDirectory()
    const authority = await createAuthority({ cluster: 'prod' })
    const text = await openssl(
      'x509',
      '-noout',
      '-text',
      '-in',
      await directory.file('ca.pem', authority.certificatePem),
    )
    expect(text).toMatch(/Basic Constraints: critical\s+CA:TRUE, pathlen:0\n/)
    expect(text).toMatch(/Key Usage: critical\s+Certificate Sign, CRL Sign\n/)
    expect(text).toMatch(/Signature Algorithm: ecdsa-with-SHA256/)
    expect(text).toContain('NIST CURVE: P-256')
    const { validFromDate, validToDate } = authority.certificate
    expect(validToDate.getUTCFullYear() - validFromDate.getUTCFullYear()).toBe(10)
    expect(authority.pin).toBe(
      sha256(authority.certificate.publicKey.export({ type: 'spki', format: 'der' })),
    )
  })

  it('names hosts in the certificates of controllers only', async () => {
    const authority = await createAuthority({ cluster: 'prod' })
    const hosts = ['Fleet.example.com', '10.0.0.5', '2001:db8::5', '::ffff:192.0.2.7', 'localhost']
    const { cert } = await issued(authority, 'controller', 'one', { hosts })
    const certificate = new X509Certificate(cert)
    for (const host of ['controller.fleetcat', 'localhost', 'fleet.example.com']) {
      expect(certificate.checkHost(host)).toBe(host)
    }
    for (const address of ['127.0.0.1', '::1', '10.0.0.5', '2001:db8::5', '::ffff:192.0.2.7']) {
      expect(certificate.checkIP(address)).toBe(address)
    }
    expect(certificate.subjectAltName?.match(/localhost/g)).toHaveLength(1)
    for (const kind of ['agent', 'operator'] as const) {
      const plain = new X509Certificate((await issued(authority, kind, 'one')).cert)
      expect(plain.subjectAltName).toBe(`URI:spiffe://prod/${kind}/one`)
      expect(await failureOf(issued(authority, kind, 'one', { hosts: ['a.example'] }))).toMatchObject({
        code: 'invalid',
      })
    }
  })

  it.each(['agent', 'operator'] as const)(
    'lets no %s pass for a host, by any part of its name',
    async kind => {
      await using directory = await temporaryDirectory()
      const authority = await createAuthority({ cluster: 'prod' })
      const { cert } = await issued(authority, kind, 'db.example.com')
      const certificate = new X509Certificate(cert)
      expect(certificate.subject).not.toContain('CN=')
      expect(tls.checkServerIdentity('db.example.com', certificate.toLegacyObject())).toBeInstanceOf(Error)
      expect(certificate.checkHost('db.example.com', { subject: 'always' })).toBeUndefined()
      const subject = openssl('x509', '-noout', '-subject', '-in', await directory.file('leaf.pem', cert))
      expect(await subject).toMatch(/O ?= ?prod, OU ?= ?\w+, name ?= ?db\.example\.com/)
      for (const name of ['controller.fleetcat', 'a.controller.fleetcat', 'localhost']) {
        expect(await failureOf(issued(authority, kind, name))).toMatchObject({ code: 'invalid' })
      }
    },
  )

  it.each([
    '*.example.com',
    'a b',
    'a..b',
    '',
    'fe80::1%eth0',
    '-a',
    `${'a'.repeat(64)}.b`,
    'a\u202eb',
    'a,b',
    'a\0b',
  ])('refuses %j as the host of a controller', async host => {
    const authority = await createAuthority({ cluster: 'prod' })
    const failure = await failureOf(issued(authority, 'controller', 'one', { hosts: [host] }))
    expect(failure).toMatchObject({ name: 'IdentityError', code: 'invalid' })
    expect(failure.message).toMatch(/^[ -~]*$/)
  })

  it('says in a leaf what it is, and that it is no authority', async () => {
    await using directory = await temporaryDirectory()
    const authority = await createAuthority({ cluster: 'prod' })
    const { cert } = await issued(authority, 'agent', 'edge-1')
    const text = await openssl('x509', '-noout', '-text', '-in', await directory.file('leaf.pem', cert))
    expect(text).toMatch(/Basic Constraints: critical\s+CA:FALSE\n/)
    expect(text).toMatch(/X509v3 Key Usage: critical\s+Digital Signature\n/)
    expect(identityOf(new X509Certificate(cert))).toEqual({ cluster: 'prod', kind: 'agent', name: 'edge-1' })
  })

  it('gives 200 certificates 200 serial numbers, all positive and of one length', async () => {
    const authority = await createAuthority({ cluster: 'prod' })
    const publicKey = authority.certificate.publicKey
    const serials = new Set<string>()
    for (let left = 200; left > 0; left--) {
      const cert = new X509Certificate(
        await authority.issue({ kind: 'agent', name: 'a', publicKey, lifetimeMs: 1000 }),
      )
      expect(cert.serialNumber).toMatch(/^[89A-F][0-9A-F]{31}$/)
      // The integer as it stands in the certificate: 17 bytes, of which the first is the zero that keeps it positive.
      expect(cert.raw.includes(Buffer.from(`021100${cert.serialNumber}`, 'hex'))).toBe(true)
      serials.add(cert.serialNumber)
    }
    expect(serials.size).toBe(200)
  })

  it('starts certificates five minutes early and never lets them outlive it', async () => {
    const start = new Date('2044-06-01T00:00:00Z')
    const authority = await createAuthority({ cluster: 'prod', clock: () => start })
    expect(authority.certificate.validToDate.getUTCFullYear()).toBe(2054)
    const late = new Date('2054-05-30T00:00:00Z')
    const leaf = new X509Certificate(
      (await issued(authority, 'agent', 'a', { clock: () => late, lifetimeMs: 30 * day })).cert,
    )
    expect(leaf.validFromDate).toEqual(new Date('2054-05-29T23:55:00Z'))
    expect(leaf.validToDate).toEqual(authority.certificate.validToDate)
    const short = new X509Certificate(
      (await issued(authority, 'agent', 'a', { clock: () => late, lifetimeMs: 60_000 })).cert,
    )
    expect(short.validToDate).toEqual(new Date('2054-05-30T00:01:00Z'))
  })

  it('blames the clock when that stands outside of its own life', async () => {
    const authority = await createAuthority({ cluster: 'prod' })
    const at = (ms: number) => issued(authority, 'agent', 'a', { clock: () => new Date(Date.now() + ms) })
    expect(await failureOf(at(-400 * day))).toMatchObject({
      code: 'not-yet-valid',
      why: expect.stringContaining("this host's clock says"),
    })
    expect(await failureOf(at(11 * 366 * day))).toMatchObject({ code: 'expired' })
  })

  it('refuses weak keys, empty lifetimes and names that are none', async () => {
    const authority = await createAuthority({ cluster: 'prod' })
    const weak = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey
    const orders = [
      { publicKey: weak },
      { lifetimeMs: 0 },
      { lifetimeMs: Number.NaN },
      { name: 'a/../b' },
      { name: '' },
    ]
    for (const order of orders) {
      expect(await failureOf(issued(authority, 'agent', 'a', order))).toMatchObject({ code: 'invalid' })
    }
    expect(await failureOf(createAuthority({ cluster: 'No Good' }))).toMatchObject({
      code: 'invalid',
      fix: 'Try no-good',
    })
  })
})

describe('the directory of an authority', () => {
  it('keeps the authority over restarts, in a file for its owner alone', async () => {
    await using directory = await temporaryDirectory()
    const home = join(directory.path, 'state', 'authority')
    expect(await loadAuthority(home)).toBeUndefined()
    const first = await openAuthority(home, 'prod')
    const again = await openAuthority(home, 'prod')
    expect(again.pin).toBe(first.pin)
    expect(again.certificatePem).toBe(first.certificatePem)
    expect((await stat(home)).mode & 0o777).toBe(0o700)
    expect((await stat(join(home, 'authority.pem'))).mode & 0o777).toBe(0o600)
    const leaf = new X509Certificate((await issued(again, 'agent', 'a')).cert)
    expect(leaf.verify(first.certificate.publicKey)).toBe(true)
  })

  it('holds one authority when several start at once', async () => {
    await using directory = await temporaryDirectory()
    const home = join(directory.path, 'authority')
    const all = await Promise.all(Array.from({ length: 8 }, () => openAuthority(home, 'prod')))
    expect(new Set(all.map(authority => authority.pin)).size).toBe(1)
  })

  it('is not opened for another cluster', async () => {
    await using directory = await temporaryDirectory()
    const home = join(directory.path, 'authority')
    await openAuthority(home, 'prod')
    expect(await failureOf(openAuthority(home, 'test'))).toMatchObject({
      code: 'invalid',
      why: expect.stringContaining('prod'),
    })
  })

  it('reports damage and never makes a new authority over it', async () => {
    await using directory = await temporaryDirectory()
    const home = join(directory.path, 'authority')
    const path = join(home, 'authority.pem')
    const { pin, certificatePem } = await openAuthority(home, 'prod')
    const other = await issued(await createAuthority({ cluster: 'prod' }), 'agent', 'a')
    await writeFile(path, other.key + certificatePem)
    expect(await failureOf(openAuthority(home, 'prod'))).toMatchObject({
      code: 'corrupt',
      why: expect.stringContaining('belong together'),
    })
    for (const length of [0, 1, 100, 300, 700]) {
      await truncate(path, length)
      expect(await failureOf(openAuthority(home, 'prod')), pin).toMatchObject({ code: 'corrupt' })
    }
  })
})

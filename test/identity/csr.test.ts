import { execFileSync } from 'node:child_process'
import { createPublicKey, generateKeyPairSync, type KeyObject, X509Certificate } from 'node:crypto'
import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Authority, createAuthority } from '#identity/ca.ts'
import { createCsr, readCsr } from '#identity/csr.ts'
import * as der from '#identity/der.ts'
import { IdentityError } from '#identity/errors.ts'
import { generateKey, keyToPem, publicHalf } from '#identity/keys.ts'
import { writePem } from '#identity/pem.ts'
import { anyText, openssl, temporaryDirectory } from './fixtures.ts'

const spki = (key: KeyObject) => publicHalf(key).export({ type: 'spki', format: 'der' })
const pemOf = (der: Buffer) => writePem('CERTIFICATE REQUEST', der)

const strongKeys = {
  'P-256': () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey,
  'P-384': () => generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey,
  Ed25519: () => generateKeyPairSync('ed25519').privateKey,
  'RSA of 2048 bits': () => generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey,
}
const weakKeys = {
  'RSA of 1024 bits': () => generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey,
  'RSA with the exponent 3': () =>
    generateKeyPairSync('rsa', { modulusLength: 2048, publicExponent: 3 }).privateKey,
  'RSA-PSS': () => generateKeyPairSync('rsa-pss', { modulusLength: 2048 }).privateKey,
  'P-224': () => generateKeyPairSync('ec', { namedCurve: 'secp224r1' }).privateKey,
  secp256k1: () => generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).privateKey,
  Ed448: () => generateKeyPairSync('ed448').privateKey,
  'a curve spelled out': () =>
    generateKeyPairSync('ec', { namedCurve: 'P-256', paramEncoding: 'explicit' }).privateKey,
}

/** A request by the openssl program, with extensions as its configuration writes them. */
async function foreignCsr(key: KeyObject, extensions: string[] = [], ...args: string[]): Promise<string> {
  await using directory = await temporaryDirectory()
  const config = await directory.file(
    'config',
    `[req]\ndistinguished_name=dn\nreq_extensions=wish\n[dn]\n[wish]\n${extensions.join('\n')}\n`,
  )
  const keyFile = await directory.file('key', keyToPem(key))
  return await openssl('req', '-new', '-key', keyFile, '-subj', '/O=evil/CN=root', '-config', config, ...args)
}

function refusal(request: string | Buffer): IdentityError {
  try {
    readCsr(request)
  } catch (error) {
    if (error instanceof IdentityError && error.code === 'invalid') return error
    throw error
  }
  throw new Error('the request was accepted')
}

describe('a certificate request', () => {
  it.each(Object.entries(strongKeys))(
    'of a key of %s is made as OpenSSL reads it, and read back',
    async (_, make) => {
      await using directory = await temporaryDirectory()
      const key = make()
      const request = await createCsr(key)
      for (const form of [request, pemOf(request), Buffer.from(pemOf(request))]) {
        expect(spki(readCsr(form).publicKey)).toEqual(spki(key))
      }
      const file = await directory.file('csr', request)
      // Older programs say it on standard error; a bad proof ends in a failure of the command.
      const text = await openssl(
        'req',
        '-inform',
        'DER',
        '-in',
        file,
        '-verify',
        '-noout',
        '-subject',
        '-pubkey',
      )
      expect(spki(createPublicKey(text.slice(text.indexOf('-----BEGIN'))))).toEqual(spki(key))
    },
  )

  it.each(Object.entries(strongKeys))('of a key of %s is read as OpenSSL makes it', async (_, make) => {
    const key = make()
    expect(spki(readCsr(await foreignCsr(key)).publicKey)).toEqual(spki(key))
  })

  it.each(Object.entries(weakKeys))('of a key of %s is refused', async (_, make) => {
    expect(refusal(await foreignCsr(make())).fix).toContain('P-256')
  })

  it('may be signed with SHA-2 only', async () => {
    const key = strongKeys['RSA of 2048 bits']()
    for (const digest of ['-sha384', '-sha512']) readCsr(await foreignCsr(key, [], digest))
    for (const digest of ['-sha1', '-md5', '-sha224', '-sha3-256']) {
      expect(refusal(await foreignCsr(key, [], digest)).why).toContain('kind that is not accepted')
    }
  })

  it('is refused when somebody else signed it', async () => {
    const mine = await createCsr(await generateKey())
    const theirs = await createCsr(await generateKey())
    const swapped = Buffer.from(mine)
    const key = spki(readCsr(theirs).publicKey)
    key.copy(swapped, mine.indexOf(spki(readCsr(mine).publicKey)))
    expect(refusal(swapped).why).toContain('does not hold the key')
  })

  it('is refused when a single byte differs, is missing or is added', async () => {
    const request = await createCsr(await generateKey())
    for (let at = 0; at < request.length; at++) {
      const changed = Buffer.from(request)
      changed.writeUInt8(changed.readUInt8(at) ^ 1, at)
      refusal(changed)
      refusal(request.subarray(0, at))
    }
    refusal(Buffer.concat([request, Buffer.from([0])]))
    refusal(Buffer.concat([request, request]))
  })

  it('is refused when it calls its signature anything but what it is', async () => {
    const request = await createCsr(await generateKey())
    const [body, , signature] = der.partsOf(der.decode(request)) as [der.Node, der.Node, der.Node]
    const called = (...algorithm: der.Node[]) =>
      der.encode(der.sequence(body, der.sequence(...algorithm), signature))
    const [ecdsa, rsa] = ['1.2.840.10045.4.3.2', '1.2.840.113549.1.1.11']
    readCsr(called(der.oid(ecdsa)))
    for (const algorithm of [
      [der.oid(rsa), der.nothing()],
      [der.oid(ecdsa), der.nothing()],
      [der.oid(ecdsa), der.nothing(), der.nothing()],
      [der.oid('1.2.840.10045.4.3.3')],
      [],
    ]) {
      refusal(called(...algorithm))
    }
  })

  it('is refused when the same values are encoded in another way', async () => {
    const request = await createCsr(await generateKey())
    const { length } = request.subarray(3)
    expect(request.subarray(0, 3)).toEqual(Buffer.from([0x30, 0x81, length]))
    refusal(Buffer.concat([Buffer.from([0x30, 0x82, 0, length]), request.subarray(3)]))
    refusal(Buffer.concat([Buffer.from([0x30, 0x80]), request.subarray(3), Buffer.alloc(2)]))
  })

  it('is refused when it is huge, before anything reads it', async () => {
    const key = await generateKey()
    const names = Array.from({ length: 600 }, (_, n) => `DNS:host-${n}.example.com`)
    expect(refusal(await foreignCsr(key, [`subjectAltName=${names.join(',')}`])).why).toContain('longer than')
    refusal(Buffer.alloc(10_000_000, 0x30))
    refusal('-'.repeat(10_000_000))
  })

  it('is refused when it nests without end', () => {
    refusal(Buffer.alloc(8_000, Buffer.from([0x30, 0x80])))
    let nested = Buffer.alloc(0)
    while (nested.length < 8_000) {
      const { length } = nested
      const head =
        length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
      nested = Buffer.concat([Buffer.from([0x30, ...head]), nested])
    }
    refusal(nested)
  })

  it('has to be one whole PEM block and nothing else', async () => {
    const pem = pemOf(await createCsr(await generateKey()))
    readCsr(`\n${pem}\n`)
    readCsr(pem.replaceAll('\n', '\r\n'))
    const certificate = (await createAuthority({ cluster: 'prod' })).certificatePem
    const others = [
      '',
      'hello',
      pem + pem,
      `${pem}trailing`,
      `leading${pem}`,
      certificate,
      pem + certificate,
      pem.replaceAll('CERTIFICATE REQUEST', 'CERTIFICATE'),
      pem.replace('END CERTIFICATE REQUEST', 'END REQUEST'),
      pem.slice(0, -30),
      pem.replace('\nM', '\n!M'),
      pem.replace('\nM', '\n'),
    ]
    for (const text of others) {
      refusal(text)
      refusal(Buffer.from(text))
    }
  })

  it('never makes the reader throw anything but a refusal', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), bytes => void refusal(Buffer.from(bytes))))
    fc.assert(fc.property(anyText, text => void refusal(text)))
  })
})

describe('the signer', () => {
  let authority: Authority
  beforeAll(async () => {
    authority = await createAuthority({ cluster: 'prod' })
  })

  it.each([
    ['to be an authority', ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,keyCertSign,cRLSign']],
    [
      'for the names of a controller',
      ['subjectAltName=DNS:controller.fleetcat,IP:127.0.0.1,DNS:evil.example'],
    ],
    [
      'for another identity',
      ['subjectAltName=URI:spiffe://prod/operator/root,URI:spiffe://prod/controller/one'],
    ],
    ['for more usages', ['extendedKeyUsage=serverAuth,codeSigning,emailProtection,anyExtendedKeyUsage']],
    [
      'for unknown extensions',
      ['1.2.3.4.5=critical,ASN1:UTF8String:evil', 'nsComment=evil', 'noCheck=ignored'],
    ],
    ['for policies', ['certificatePolicies=2.5.29.32.0', 'tlsfeature=status_request']],
  ])('takes the key and nothing else from a request that asks %s', async (_, extensions) => {
    const key = await generateKey()
    const { publicKey } = readCsr(await foreignCsr(key, extensions))
    const wished = await authority.issue({ kind: 'operator', name: 'ann', publicKey, lifetimeMs: 60_000 })
    const plain = await authority.issue({ kind: 'operator', name: 'ann', publicKey, lifetimeMs: 60_000 })
    expect(await shapeOf(wished)).toEqual(await shapeOf(plain))
    const certificate = new X509Certificate(wished)
    expect(certificate.ca).toBe(false)
    expect(certificate.subjectAltName).toBe('URI:spiffe://prod/operator/ann')
    expect(wished).not.toContain('evil')
    expect(certificate.raw.includes('evil')).toBe(false)
    expect(certificate.publicKey.equals(publicHalf(key))).toBe(true)
  })
})

/** All that OpenSSL prints of a certificate but its serial number, dates and signature. */
async function shapeOf(pem: string): Promise<string> {
  const options = 'no_serial,no_validity,no_sigdump'
  return execFileSync('openssl', ['x509', '-noout', '-text', '-certopt', options], { input: pem }).toString()
}

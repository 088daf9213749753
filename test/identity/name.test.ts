import { X509Certificate } from 'node:crypto'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createAuthority } from '#identity/ca.ts'
import { IdentityError } from '#identity/errors.ts'
import { checkName, clusterOf, formatName, identityOf, kinds, parseName } from '#identity/name.ts'
import { anyText, openssl, temporaryDirectory } from './fixtures.ts'

/** A certificate with this subjectAltName, as OpenSSL's configuration writes it. */
async function certificateWith(...lines: string[]): Promise<X509Certificate> {
  await using directory = await temporaryDirectory()
  const extensions = lines.length === 0 ? '' : 'subjectAltName=@names'
  const config = await directory.file(
    'config',
    `[req]\ndistinguished_name=dn\nx509_extensions=v3\n[dn]\n[v3]\n${extensions}\n[names]\n${lines.join('\n')}\n`,
  )
  const key = ['-newkey', 'ed25519', '-nodes', '-keyout', join(directory.path, 'key')]
  return new X509Certificate(await openssl('req', '-x509', ...key, '-subj', '/CN=a', '-config', config))
}

const codeOf = (act: () => unknown): string | undefined => {
  try {
    act()
    return undefined
  } catch (error) {
    return error instanceof IdentityError ? error.code : String(error)
  }
}

/** What the identity of a certificate with these names is refused with. */
async function codeOfNames(...lines: string[]): Promise<string | undefined> {
  const certificate = await certificateWith(...lines)
  return codeOf(() => identityOf(certificate))
}

const name = fc.stringMatching(/^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/)

describe('a name', () => {
  it('comes back from its URI', () => {
    fc.assert(
      fc.property(name, fc.constantFrom(...kinds), name, (cluster, kind, own) => {
        expect(parseName(formatName({ cluster, kind, name: own }))).toEqual({ cluster, kind, name: own })
      }),
    )
  })

  it('is refused with the nearest good one, and in printable words', () => {
    expect(checkName('edge-1.example')).toBe('edge-1.example')
    expect(() => checkName('Laptop_of Ann!')).toThrow('Try laptop-of-ann')
    expect(() => checkName('x'.repeat(64))).toThrow(`Try ${'x'.repeat(63)}`)
    expect(() => checkName('a\n')).toThrow('Try a')
    fc.assert(
      fc.property(anyText, text => {
        try {
          expect(checkName(text)).toMatch(/^[a-z0-9.-]+$/)
        } catch (error) {
          expect(error).toBeInstanceOf(IdentityError)
          const { message, fix } = error as IdentityError
          expect(message).toMatch(/^[ -~]*$/)
          if (fix) expect(checkName(fix.replace('Try ', ''))).toBeDefined()
        }
      }),
    )
  })

  it.each(['controller.fleetcat', 'a.controller.fleetcat', 'localhost', 'a.localhost', 'a.b.localhost'])(
    'is never %s, by which controllers are reached',
    reserved => {
      expect(() => checkName(reserved)).toThrow('controllers are reached by it')
      expect(() => formatName({ cluster: 'prod', kind: 'agent', name: reserved })).toThrow('refused')
    },
  )

  it('may resemble one by which controllers are reached', () => {
    for (const good of [
      'controller',
      'fleetcat',
      'mycontroller.fleetcat',
      'localhost.example',
      'notlocalhost',
    ])
      expect(checkName(good)).toBe(good)
  })

  it.each([
    'spiffe://prod/agent/',
    'spiffe://prod/agent/a/',
    'spiffe://prod/agent/a/b',
    'spiffe://prod/agent/..',
    'spiffe://prod/agent/A',
    'spiffe://prod/agent/a%2fb',
    'spiffe://prod/agent/a\n',
    'spiffe://prod/agent/a?b',
    'spiffe://prod/root/a',
    'spiffe:///agent/a',
    'spiffe://prod:1/agent/a',
    'spiffe://u@prod/agent/a',
    'SPIFFE://prod/agent/a',
    'https://prod/agent/a',
    'spiffe://prod/constructor/a',
    ' spiffe://prod/agent/a',
    'xspiffe://prod/agent/a',
    '',
  ])('is not read from %j', uri => {
    expect(codeOf(() => parseName(uri))).toBe('invalid')
  })
})

describe('the identity in a certificate', () => {
  it('is its one URI, whatever hosts stand beside it', async () => {
    const uri = 'spiffe://prod/controller/one'
    const certificate = await certificateWith('DNS.1=a.example', `URI.1=${uri}`, 'IP.1=10.0.0.1')
    expect(identityOf(certificate)).toEqual({ cluster: 'prod', kind: 'controller', name: 'one' })
    expect(identityOf(certificate.raw)).toEqual(identityOf(certificate))
  })

  it('is missing or ambiguous: refused', async () => {
    expect(await codeOfNames()).toBe('invalid')
    expect(await codeOfNames('DNS.1=a.example')).toBe('invalid')
    const two = await certificateWith('URI.1=spiffe://prod/agent/a', 'URI.2=spiffe://prod/agent/b')
    expect(() => identityOf(two)).toThrow('names 2 identities')
    expect(await codeOfNames('URI.1=spiffe://prod/agent/a', 'URI.2=https://x')).toBe('invalid')
  })

  it('is not taken from a host name or an address that looks like a URI in print', async () => {
    for (const line of [
      'DNS.1=a.example, URI:spiffe://prod/agent/root',
      'email.1=a@b, URI:spiffe://prod/agent/root',
      'otherName.1=1.2.3.4;UTF8:x, URI:spiffe://prod/agent/root',
    ]) {
      const [key, ...value] = line.split('=')
      const certificate = await certificateWith(`${key}=${value.join('=').replaceAll(',', '\\,')}`)
      expect(codeOf(() => identityOf(certificate))).toBe('invalid')
    }
  })

  it('is never read from damaged bytes, whichever they are', async () => {
    const { certificate } = await createAuthority({ cluster: 'prod' })
    expect(clusterOf(certificate)).toBe('prod')
    expect(codeOf(() => identityOf(certificate))).toBe('invalid')
    fc.assert(
      fc.property(fc.nat(certificate.raw.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const bytes = Buffer.from(certificate.raw)
        bytes.writeUInt8(bytes.readUInt8(at) ^ flip, at)
        expect([undefined, 'invalid']).toContain(codeOf(() => clusterOf(bytes)))
        expect(codeOf(() => clusterOf(bytes.subarray(0, at)))).toBe('invalid')
      }),
    )
    expect(codeOf(() => clusterOf(Buffer.concat([certificate.raw, Buffer.from([0])])))).toBe('invalid')
  })
})

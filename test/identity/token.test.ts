import { createHash, randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { IdentityError } from '#identity/errors.ts'
import { hashSecret, type JoinToken, mintToken, parseToken, secretMatches } from '#identity/token.ts'
import { anyText } from './fixtures.ts'

const pin = createHash('sha256').update('a key').digest('hex')
const order = {
  kind: 'agent',
  id: 't-7k2m',
  addresses: ['fleet.example.com:7443', '[2001:db8::1]:7443'],
  pin,
} as const

function refusal(text: string): IdentityError {
  try {
    parseToken(text)
  } catch (error) {
    if (error instanceof IdentityError && error.code === 'invalid') return error
    throw error
  }
  throw new Error(`accepted: ${text}`)
}

/** A token with these bytes and a fitting length and checksum, as a forger could make it. */
function forged(body: Buffer): string {
  body.writeUInt16BE(body.length + 4)
  const sum = createHash('sha256').update('fcat1_').update(body).digest().subarray(0, 4)
  return `fcat1_${Buffer.concat([body, sum]).toString('base64url')}`
}

describe('a join token', () => {
  it('is one word that carries all that a newcomer needs', () => {
    const { text, secret } = mintToken(order)
    expect(text).toMatch(/^fcat1_[\w-]+$/)
    expect(secret).toHaveLength(32)
    expect(parseToken(text)).toEqual({ ...order, secret })
    expect(parseToken(`  ${text}\n`)).toEqual({ ...order, secret })
  })

  it('comes back whatever it carries', () => {
    const address = fc
      .tuple(fc.domain(), fc.integer({ min: 1, max: 65535 }))
      .map(([host, port]) => `${host}:${port}`)
    const content: fc.Arbitrary<Omit<JoinToken, 'secret'>> = fc.record({
      kind: fc.constantFrom('agent' as const, 'operator' as const),
      id: fc.stringMatching(/^[\w-]{1,64}$/),
      addresses: fc.array(
        address.filter(one => one.length <= 255),
        { minLength: 1, maxLength: 16 },
      ),
      pin: fc.stringMatching(/^[0-9a-f]{64}$/),
    })
    fc.assert(
      fc.property(content, made => {
        const { text, secret } = mintToken(made)
        expect(parseToken(text)).toEqual({ ...made, secret })
      }),
    )
  })

  it('is another each time', () => {
    const made = Array.from({ length: 100 }, () => mintToken(order))
    expect(new Set(made.map(one => one.text)).size).toBe(100)
    expect(new Set(made.map(one => one.secret.toString('hex'))).size).toBe(100)
  })

  it('says that it was cut, wherever it was cut', () => {
    const { text } = mintToken(order)
    for (let length = 'fcat1_'.length; length < text.length - 1; length++) {
      expect(refusal(text.slice(0, length)).why, String(length)).toMatch(/cut short|changed/)
    }
    expect(refusal(text.slice(0, 80)).why).toBe('it is cut short')
  })

  it('says that it was changed, whichever character was', () => {
    const { text } = mintToken(order)
    for (let at = 'fcat1_'.length; at < text.length; at++) {
      for (const put of ['A', 'z', '_', '-', '7']) {
        if (text[at] !== put) refusal(text.slice(0, at) + put + text.slice(at + 1))
      }
    }
    refusal(`${text}A`)
    refusal(`${text}AAAA`)
    refusal(`${text}=`)
    refusal(text + text)
    expect(refusal(`${text.slice(0, 50)}\n${text.slice(50)}`).why).toBe('it has characters that no token has')
  })

  it('has one spelling only, down to the last bits of its last character', () => {
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    for (const id of ['a', 'ab', 'abc']) {
      const { text } = mintToken({ ...order, id })
      for (const last of alphabet) {
        if (last !== text.at(-1)) refusal(text.slice(0, -1) + last)
      }
    }
  })

  it('says that it is not ours, or not of this version', () => {
    for (const text of ['', 'hello', 'ghp_abcdefgh', 'FCAT1_AAAA', 'eyJhbGciOiJIUzI1NiJ9.e30.x']) {
      expect(refusal(text).why).toBe('it does not begin with fcat1_')
    }
    expect(refusal(mintToken(order).text.replace('fcat1_', 'fcat2_')).why).toBe(
      'a newer or older fleetcat made it',
    )
  })

  it('is refused when a forger fills a sound frame with nonsense', () => {
    const { text } = mintToken(order)
    const body = Buffer.from(text.slice('fcat1_'.length), 'base64url').subarray(0, -4)
    expect(parseToken(forged(Buffer.from(body)))).toEqual(parseToken(text))
    const unknownKind = Buffer.from(body)
    unknownKind.writeUInt8(9, 2)
    for (const bytes of [
      unknownKind,
      body.subarray(0, -1),
      Buffer.concat([body, Buffer.from([0])]),
      Buffer.alloc(2),
    ]) {
      expect(refusal(forged(Buffer.from(bytes))).why).toBe('it makes no sense')
    }
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 2, maxLength: 300 }), bytes => {
        expect(refusal(forged(Buffer.from(bytes))).why).toBe('it makes no sense')
      }),
    )
    const place = body.indexOf(':7443')
    for (const port of [':0000', ':x443', '\u001b7443', ' 7443']) {
      const changed = Buffer.from(body)
      changed.write(port, place, 'latin1')
      expect(refusal(forged(changed)).why).toBe('it makes no sense')
    }
  })

  it('never makes the reader throw anything but a refusal, and never quotes what it read', () => {
    fc.assert(fc.property(anyText, text => void refusal(text)))
    fc.assert(
      fc.property(fc.stringMatching(/^[\w-]{20,400}$/), text => {
        expect(refusal(`fcat1_${text}`).message).not.toContain(text)
      }),
    )
  })

  it.each([
    { pin: 'abc' },
    { pin: pin.toUpperCase() },
    { addresses: [] },
    { addresses: Array.from({ length: 17 }, () => 'a:1') },
    { addresses: ['a'] },
    { addresses: ['a:0'] },
    { addresses: ['a:65536'] },
    { addresses: ['2001:db8::1:7443'] },
    { addresses: ['a b:1'] },
    { addresses: [`${'a'.repeat(300)}:1`] },
    { id: '' },
    { id: 'a b' },
    { id: 'x'.repeat(65) },
  ])('is not made of %j', part => {
    expect(() => mintToken({ ...order, ...part })).toThrow(IdentityError)
  })
})

describe('the secret of a token', () => {
  it('is known again by its hash alone', () => {
    const { secret } = mintToken(order)
    const hash = hashSecret(secret)
    expect(hash).toBe(createHash('sha256').update(secret).digest('hex'))
    expect(secretMatches(secret, hash)).toBe(true)
    expect(secretMatches(new Uint8Array(secret), hash)).toBe(true)
    expect(secretMatches(randomBytes(32), hash)).toBe(false)
    expect(secretMatches(Buffer.alloc(0), hash)).toBe(false)
    for (const damaged of ['', hash.slice(2), `${hash}00`, 'zz'.repeat(32)])
      expect(secretMatches(secret, damaged)).toBe(false)
  })
})

import { X509Certificate } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { createAuthority } from '#identity/ca.ts'
import { renewAt } from '#identity/renewal.ts'
import { requireValid, stateOf, validityOf, validityText } from '#identity/validity.ts'
import { issued } from './fixtures.ts'

const hour = 3_600_000
const start = new Date('2026-03-01T00:00:00Z')

async function leaf(lifetimeMs: number): Promise<X509Certificate> {
  const authority = await createAuthority({ cluster: 'prod', clock: () => start })
  const { cert } = await issued(authority, 'agent', 'edge-1', { lifetimeMs, clock: () => start })
  return new X509Certificate(cert)
}

describe('renewal', () => {
  it.each([24 * hour, 2 * hour, 10_000])(
    'is due at half of a life of %d ms, give or take a tenth',
    async lifetime => {
      const authority = await createAuthority({ cluster: 'prod', clock: () => start })
      const moments = new Set<number>()
      for (let left = 50; left > 0; left--) {
        const { cert } = await issued(authority, 'agent', 'a', { lifetimeMs: lifetime, clock: () => start })
        const after = renewAt(new X509Certificate(cert), start).getTime() - start.getTime()
        expect(after).toBeGreaterThanOrEqual(lifetime * 0.45 - 1)
        expect(after).toBeLessThanOrEqual(lifetime * 0.55 + 1)
        moments.add(after)
      }
      expect(moments.size).toBeGreaterThan(25)
    },
  )

  it('is due at the same moment after a restart, and at once when that has passed', async () => {
    const certificate = await leaf(24 * hour)
    const due = renewAt(certificate, start)
    expect(renewAt(new X509Certificate(certificate.raw), new Date(start.getTime() + hour))).toEqual(due)
    const late = new Date(start.getTime() + 400 * 24 * hour)
    expect(renewAt(certificate, late)).toEqual(late)
  })
})

describe('validity', () => {
  it('tells past from future', async () => {
    const validity = validityOf(await leaf(hour))
    const at = (ms: number) => stateOf(validity, new Date(start.getTime() + ms))
    expect([at(-301_000), at(-299_000), at(0), at(hour - 1), at(hour + 1)]).toEqual([
      'not-yet-valid',
      'valid',
      'valid',
      'valid',
      'expired',
    ])
    expect(validityText(validity)).toBe('from 2026-02-28 23:55:00 UTC until 2026-03-01 01:00:00 UTC')
  })

  it('explains itself by comparing the clock with the dates', async () => {
    const validity = validityOf(await leaf(hour))
    const ask = (ms: number) => () =>
      requireValid(validity, 'the certificate of edge-1', new Date(start.getTime() + ms))
    ask(0)()
    expect(ask(4 * hour)).toThrow(
      "the certificate of edge-1 is expired: this host's clock says 2026-03-01 04:00:00 UTC; the certificate is valid " +
        'from 2026-02-28 23:55:00 UTC until 2026-03-01 01:00:00 UTC, 3 hours ago. Check the clock',
    )
    expect(ask(-400 * 24 * hour)).toThrow(
      /is not valid yet: this host's clock says 2025-01-25 .* 399 days from now/,
    )
  })
})

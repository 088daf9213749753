import { X509Certificate } from 'node:crypto'
import type { CertificateGrant } from '#gen/fleetcat/v1/agent.ts'
import { createCsr } from '#identity/csr.ts'
import { type LoadedIdentity, loadIdentity, saveIdentity } from '#identity/files.ts'
import { generateKey, keyToPem } from '#identity/keys.ts'
import { formatName, identityOf } from '#identity/name.ts'
import { renewAt } from '#identity/renewal.ts'
import { RelayError } from '#relay/errors.ts'
import type { Logger } from '#telemetry/log.ts'
import { failureOf } from '#wire/failure.ts'
import { fromProblem } from '#wire/problem.ts'
import { pause } from './backoff.ts'
import type { Session } from './session.ts'

export interface RenewalContext {
  readonly directory: string
  /** What this host presents: read by whoever dials, replaced here. */
  readonly held: { identity: LoadedIdentity }
  readonly session: Pick<Session, 'requestCertificate' | 'handOver' | 'stopped'>
  readonly log: Logger
}

const patienceMs = 30_000

/** Renews the certificate at half of its life, with a fresh key, and moves the session over. Relays notice nothing. */
export function openRenewal({ directory, held, session, log }: RenewalContext): AsyncDisposable {
  const over = new AbortController()
  const { signal } = over
  void session.stopped.then(() => over.abort())

  async function run() {
    while (!signal.aborted) {
      const due = renewAt(held.identity.certificate, new Date())
      await pauseUntil(due, signal)
      if (signal.aborted) return
      await attempt(() => renew(), 'certificate not renewed')
      await attempt(() => session.handOver(), 'the session did not move to the new certificate')
    }
  }

  /** Again and again until it works: with long pauses, but shorter than what is left of the certificate. */
  async function attempt(act: () => Promise<void>, trouble: string) {
    while (!signal.aborted) {
      try {
        return await act()
      } catch (thrown) {
        const expiresAt = held.identity.certificate.validToDate
        const left = expiresAt.getTime() - Date.now()
        const wait = (0.5 + Math.random()) * Math.min(600_000, Math.max(500, left / 10))
        const retryAt = new Date(Date.now() + wait)
        if (!signal.aborted)
          log.error(
            { event: 'certificate.trouble', error: failureOf(thrown, 'the renewal'), expiresAt, retryAt },
            trouble,
          )
        await pause(wait, signal)
      }
    }
  }

  async function renew() {
    const key = await generateKey()
    const csrDer = await createCsr(key)
    const { certificatePem, authorityPem } = accepted(await session.requestCertificate(csrDer, patienceMs))
    const { identity, details } = held.identity
    if (formatName(identityOf(new X509Certificate(certificatePem))) !== formatName(identity))
      throw new RelayError('denied', { what: 'the new certificate', why: 'it is of somebody else' })
    await saveIdentity(directory, { key: keyToPem(key), cert: certificatePem, ca: authorityPem, details })
    held.identity = (await loadIdentity(directory))!
    log.info(
      { event: 'certificate.renewed', until: held.identity.certificate.validToDate },
      'certificate renewed',
    )
  }

  const running = run()
  return {
    async [Symbol.asyncDispose]() {
      over.abort()
      await running
    },
  }
}

function accepted(grant: CertificateGrant): CertificateGrant {
  if (grant.problem) throw fromProblem(grant.problem)
  return grant
}

/** A year is longer than a timer can count, and clocks are set while it runs. */
export async function pauseUntil(due: Date, signal: AbortSignal): Promise<void> {
  const longest = 3_600_000
  for (let left = due.getTime() - Date.now(); left > 0 && !signal.aborted; left = due.getTime() - Date.now())
    await pause(Math.min(left, longest), signal)
}

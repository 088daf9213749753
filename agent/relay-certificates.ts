import { X509Certificate } from 'node:crypto'
import type { RelayCertificate, RelayCertificateRequest } from '#gen/fleetcat/v1/agent.ts'
import { createCsr } from '#identity/csr.ts'
import { generateKey, keyToPem } from '#identity/keys.ts'
import { renewAt } from '#identity/renewal.ts'
import { requireValid, validityOf } from '#identity/validity.ts'
import type { Certificates, FleetCertificate } from '#relay/endpoint.ts'
import { RelayError } from '#relay/errors.ts'
import type { Logger } from '#telemetry/log.ts'
import { failureOf } from '#wire/failure.ts'
import { fromProblem } from '#wire/problem.ts'
import { pause } from './backoff.ts'
import { pauseUntil } from './renewal.ts'

/** Asks the controller. Rejects with a RelayError when no answer comes. */
export type AskForCertificate = (
  request: Pick<RelayCertificateRequest, 'relayId' | 'csrDer'>,
) => Promise<RelayCertificate>

/** The certificate of one relay while it runs. Its key never leaves this process, and ends with it. */
export interface RelayCertificates extends Certificates, Disposable {}

interface Held {
  readonly given: FleetCertificate
  readonly certificate: X509Certificate
}

/** A clock that is wrong must not make a host ask without pause. */
const shortestPauseMs = 1_000

/** Asks for nothing until somebody needs it; from then on it renews what it has at half of its life. */
export function openRelayCertificates(
  { id, name }: { readonly id: string; readonly name: string },
  ask: AskForCertificate,
  log: Logger,
): RelayCertificates {
  const what = `certificate for relay/${name}`
  const over = new AbortController()
  const { signal } = over
  const listeners = new Set<(renewed: FleetCertificate) => void>()
  let held: Held | undefined
  let asking: Promise<Held> | undefined

  async function askAnew(): Promise<Held> {
    const key = await generateKey()
    const { certificatePem, authorityPem, problem } = await ask({
      relayId: id,
      csrDer: await createCsr(key),
    })
    if (problem) throw fromProblem(problem)
    if (signal.aborted) throw new RelayError('closed', { what, why: 'the relay has ended' })
    const certificate = new X509Certificate(certificatePem)
    requireValid(validityOf(certificate), what, new Date())
    const given = { key: keyToPem(key), certificate: certificatePem, authority: authorityPem }
    const isFirst = held === undefined
    held = { given, certificate }
    const until = certificate.validToDate
    const words = isFirst ? 'a relay has its certificate' : 'the certificate of a relay was renewed'
    log.info({ event: 'relay.certified', relay: name, relayId: id, until }, words)
    if (isFirst) void keepFresh()
    for (const listener of listeners) listener(given)
    return held
  }

  /** One question at a time, however many need the answer. */
  function renew(): Promise<Held> {
    asking ??= askAnew()
      .catch(thrown => {
        throw failureOf(thrown, what)
      })
      .finally(() => {
        asking = undefined
      })
    return asking
  }

  async function keepFresh(): Promise<void> {
    while (!signal.aborted && held) {
      await pause(shortestPauseMs, signal)
      await pauseUntil(renewAt(held.certificate, new Date()), signal)
      if (!signal.aborted) await renew().catch(complain)
    }
  }

  /** It goes on with what it has, for half of its life is left. */
  async function complain(error: RelayError): Promise<void> {
    const left = (held?.certificate.validToDate.getTime() ?? 0) - Date.now()
    const wait = (0.5 + Math.random()) * Math.min(600_000, Math.max(shortestPauseMs, left / 10))
    const retryAt = new Date(Date.now() + wait)
    if (!signal.aborted) {
      const words = 'the certificate of a relay was not renewed'
      log.error({ event: 'certificate.trouble', relay: name, relayId: id, error, retryAt }, words)
    }
    await pause(wait, signal)
  }

  return {
    async obtain() {
      const isGood = held && held.certificate.validToDate.getTime() > Date.now()
      return (isGood && held ? held : await renew()).given
    },
    onRenewed(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    [Symbol.dispose]() {
      over.abort()
      listeners.clear()
    },
  }
}

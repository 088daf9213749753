import { X509Certificate } from 'node:crypto'
import type { TlsOptions } from 'node:tls'
import type { Authority } from '#identity/ca.ts'
import { generateKey, keyToPem, publicHalf } from '#identity/keys.ts'
import { renewAt } from '#identity/renewal.ts'
import { serverOptions } from '#identity/tls.ts'
import { longestTimerMs } from '#relay/timer.ts'
import type { Logger } from '#telemetry/log.ts'
import { failureOf } from '#wire/failure.ts'

export interface OwnCertificate extends Disposable {
  readonly tls: TlsOptions
}

interface Options {
  readonly authority: Authority
  readonly hosts: readonly string[]
  readonly lifetimeMs: number
  readonly log: Logger
  /** A newer one is there, and new handshakes should use it. */
  renewed(tls: TlsOptions): void
}

const againMs = 60_000

/**
 * The controller's own certificate: a new key at each start and at half-life, never on disk. Rejects with a RelayError
 * when the first cannot be made; should a later one fail, the old one stays and it is tried again.
 */
export async function openOwnCertificate({
  authority,
  hosts,
  lifetimeMs,
  log,
  renewed,
}: Options): Promise<OwnCertificate> {
  let timer: NodeJS.Timeout | undefined
  let disposed = false
  let current: TlsOptions

  async function make(): Promise<TlsOptions> {
    const key = await generateKey()
    const publicKey = publicHalf(key)
    const cert = await authority.issue({
      kind: 'controller',
      name: 'controller',
      publicKey,
      lifetimeMs,
      hosts,
    })
    const dueMs = renewAt(new X509Certificate(cert), new Date()).getTime() - Date.now()
    renewIn(dueMs)
    return serverOptions({ key: keyToPem(key), cert, ca: authority.certificatePem })
  }

  function renewIn(ms: number): void {
    if (!disposed) timer = setTimeout(renew, Math.min(Math.max(ms, 1_000), longestTimerMs))
  }

  async function renew(): Promise<void> {
    try {
      current = await make()
      if (disposed) return
      renewed(current)
      log.info(
        { event: 'certificate.renewed', kind: 'controller' },
        'the certificate of the controller was renewed',
      )
    } catch (error) {
      log.error(
        { event: 'certificate.not-renewed', kind: 'controller', error },
        'the certificate of the controller could not be renewed: the old one stays, and it is tried again',
      )
      renewIn(Math.min(againMs, lifetimeMs / 10))
    }
  }

  current = await make().catch(thrown => {
    throw failureOf(thrown, 'the certificate of the controller')
  })
  return {
    get tls() {
      return current
    },
    [Symbol.dispose]() {
      disposed = true
      clearTimeout(timer)
    },
  }
}

import { userInfo } from 'node:os'
import { loadIdentity } from '#identity/files.ts'
import { fingerprintOf } from '#identity/keys.ts'
import { checkName, nearestName } from '#identity/name.ts'
import { renewAt } from '#identity/renewal.ts'
import { longestTimerMs } from '#relay/timer.ts'
import type { Logger } from '#telemetry/log.ts'
import { type Context, identityDir, readConfig } from './config.ts'
import { freeName, rememberContext } from './contexts.ts'
import { freshKey, type Grant, keepCredentials } from './credentials.ts'
import { reachable } from './reachable.ts'

/** The part of a running controller that signs for the user who started it. */
export interface LocalIssuer {
  readonly listening: string
  readonly cluster: string
  /** Whether this key, by this name, would be let in with this role. */
  letsIn(order: { name: string; role: 'admin'; keyHash: string }): boolean
  issueLocally(order: { kind: 'operator'; name: string; role: 'admin'; csr: Uint8Array }): Promise<Grant>
}

export interface AdminContext extends AsyncDisposable {
  readonly context: Context
}

const retryMs = 60_000

/**
 * Writes an admin context for the user who started this controller, and keeps its certificate fresh while the
 * controller runs. It becomes the current one unless another fleet's is.
 */
export async function keepAdminContext(
  controller: LocalIssuer,
  { localAgent, log }: { localAgent?: string; log: Logger },
): Promise<AdminContext> {
  const operator = operatorName()
  const { cluster } = controller
  const config = await readConfig()
  const context: Context = {
    name: freeName(config, { cluster, operator }),
    cluster,
    addresses: [reachable(controller.listening)],
    operator,
    ...(localAgent !== undefined && { localAgent }),
  }
  const current = config.contexts.find(({ name }) => name === config.current)
  let timer: NodeJS.Timeout | undefined
  let held = await holding(context)
  // Whoever starts the controller is let in again, even when revoked: there might be no other way back.
  if (held.due.getTime() <= Date.now() || !isLetIn()) await issue()
  await rememberContext(context, { current: !current || current.cluster === cluster })
  schedule(held.due)

  function isLetIn(): boolean {
    return controller.letsIn({ name: operator, role: 'admin', keyHash: held.keyHash })
  }

  async function issue(): Promise<void> {
    const { keyPem, csrDer } = await freshKey()
    const grant = await controller.issueLocally({
      kind: 'operator',
      name: operator,
      role: 'admin',
      csr: csrDer,
    })
    await keepCredentials(context, keyPem, grant)
    held = await holding(context)
  }

  function schedule(at: Date): void {
    const wait = Math.min(longestTimerMs, Math.max(1_000, at.getTime() - Date.now()))
    timer = setTimeout(() => void tick(at), wait).unref()
  }

  async function tick(at: Date): Promise<void> {
    if (at.getTime() > Date.now()) return schedule(at)
    // A command may have renewed it in between.
    held = await holding(context)
    if (held.due.getTime() > Date.now()) return schedule(held.due)
    if (held.keyHash && !isLetIn()) {
      log.warn(
        { event: 'admin-context.revoked', context: context.name, operator },
        'the local admin was revoked, and its certificate is not renewed; the next start lets it in again',
      )
      return
    }
    try {
      await issue()
      schedule(held.due)
    } catch (error) {
      log.warn(
        { event: 'admin-context.not-renewed', context: context.name, error },
        'the admin context stays old',
      )
      schedule(new Date(Date.now() + retryMs))
    }
  }

  return {
    context,
    async [Symbol.asyncDispose]() {
      clearTimeout(timer)
    },
  }
}

interface Held {
  /** When the certificate has to be renewed: at once where there is none, or none that can be read. */
  readonly due: Date
  readonly keyHash: string
}

async function holding({ name, cluster, operator }: Context): Promise<Held> {
  const nothing: Held = { due: new Date(0), keyHash: '' }
  try {
    const identity = await loadIdentity(identityDir(name))
    if (!identity) return nothing
    const { identity: named, certificate } = identity
    const ours = named.cluster === cluster && named.name === operator
    if (!ours) return nothing
    return { due: renewAt(certificate, new Date()), keyHash: fingerprintOf(certificate.publicKey) }
  } catch {
    return nothing
  }
}

/** This user's name, as far as it can name an operator. */
function operatorName(): string {
  const name = nearestName(userInfo().username)
  return name ? checkName(name) : 'admin'
}

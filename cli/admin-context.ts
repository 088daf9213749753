import { userInfo } from 'node:os'
import { loadIdentity } from '#identity/files.ts'
import { checkName } from '#identity/name.ts'
import { renewAt } from '#identity/renewal.ts'
import type { Logger } from '#telemetry/log.ts'
import { type Context, identityDir, readConfig } from './config.ts'
import { freeName, rememberContext } from './contexts.ts'
import { freshKey, type Grant, keepCredentials } from './credentials.ts'
import { reachable } from './reachable.ts'

/** The part of a running controller that signs for the user who started it. */
export interface LocalIssuer {
  readonly listening: string
  readonly cluster: string
  issueLocally(order: { kind: 'operator'; name: string; role: 'admin'; csr: Uint8Array }): Promise<Grant>
}

export interface AdminContext extends AsyncDisposable {
  readonly context: Context
}

/** Longer timers fire at once. */
const longestMs = 2 ** 31 - 1
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
  let due = await dueAt(context)
  if (due.getTime() <= Date.now()) due = await issue()
  await rememberContext(context, { current: !current || current.cluster === cluster })
  schedule(due)

  async function issue(): Promise<Date> {
    const { keyPem, csrDer } = await freshKey()
    const grant = await controller.issueLocally({
      kind: 'operator',
      name: operator,
      role: 'admin',
      csr: csrDer,
    })
    await keepCredentials(context, keyPem, grant)
    return dueAt(context)
  }

  function schedule(at: Date): void {
    const wait = Math.min(longestMs, Math.max(1_000, at.getTime() - Date.now()))
    timer = setTimeout(() => void tick(at), wait).unref()
  }

  async function tick(at: Date): Promise<void> {
    if (at.getTime() > Date.now()) return schedule(at)
    try {
      schedule(await issue())
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

/** When the context's certificate has to be renewed: at once where there is none, or none that can be read. */
async function dueAt({ name, cluster, operator }: Context): Promise<Date> {
  try {
    const identity = await loadIdentity(identityDir(name))
    if (!identity) return new Date(0)
    const { identity: named, certificate } = identity
    const ours = named.cluster === cluster && named.name === operator
    return ours ? renewAt(certificate, new Date()) : new Date(0)
  } catch {
    return new Date(0)
  }
}

/** This user's name, as far as it can name an operator. */
function operatorName(): string {
  const name = userInfo()
    .username.toLowerCase()
    .replace(/[^a-z0-9.-]+/g, '-')
    .slice(0, 63)
    .replace(/^[.-]+|[.-]+$/g, '')
  return name ? checkName(name) : 'admin'
}

import { AgentServiceService } from '#gen/fleetcat/v1/agent.ts'
import { EnrollmentServiceService } from '#gen/fleetcat/v1/enrollment.ts'
import { OperatorServiceService } from '#gen/fleetcat/v1/operator.ts'
import { RelayError } from '#relay/errors.ts'
import type { Logger } from '#telemetry/log.ts'
import { type MetricsServer, openRegistry, serveMetrics } from '#telemetry/metrics.ts'
import { localActor } from './actor.ts'
import { readAdvertisement } from './advertisement.ts'
import { readConfig } from './config.ts'
import { type Front, openFront } from './front.ts'
import { openCallServer } from './grpc.ts'
import { registerMetrics } from './metrics.ts'
import { openOwnCertificate } from './own-certificate.ts'
import type { Parts } from './parts.ts'
import { agentService } from './services/agent.ts'
import { enrolmentService } from './services/enrollment.ts'
import { serve } from './services/handlers.ts'
import { operatorActs } from './services/operator.ts'
import { openState } from './state.ts'

export interface ControllerOptions {
  /** `HOST:PORT`; port 0 lets the kernel choose. */
  readonly listen: string
  /** The names or addresses, `NAME:PORT`, by which agents and operators reach this controller. */
  readonly advertise?: readonly string[]
  readonly dataDir: string
  readonly configFile?: string
  /** Where Prometheus may ask, `HOST:PORT`. */
  readonly metrics?: string
  readonly log: Logger
}

export interface RunningController extends AsyncDisposable {
  /** Where it really listens: `127.0.0.1:7443`. */
  readonly listening: string
  /** What join tokens say first. */
  readonly advertised: string
  readonly cluster: string
  /** A certificate for the user who started this process, and who could read the CA's key anyway. */
  issueLocally(order: {
    kind: 'operator'
    name: string
    role: 'admin'
    csr: Uint8Array
  }): Promise<{ certificatePem: string; authorityPem: string }>
  /** Whether a call with this key, by this operator, would be let in as an admin. */
  letsIn(order: { name: string; role: 'admin'; keyHash: string }): boolean
  mintToken(order: { kind: 'agent'; name: string; labels?: Record<string, string> }): Promise<string>
  /** Resolves when it has stopped; with an error if it had to. */
  readonly stopped: Promise<RelayError | undefined>
  /** Says goodbye to the agents, lets calls end, and stops. */
  close(): Promise<void>
}

const drainMs = 3_000
/** Nobody without a certificate needs longer; then a call that is under way has a little time to end. */
const strangersStay = { maxConnectionAgeMs: 30_000, graceMs: 3_000 }

/** Rejects with a RelayError, and then holds nothing. */
export async function startController(options: ControllerOptions): Promise<RunningController> {
  const { log } = options
  const config = await readConfig(options.configFile)
  const address = readAdvertisement(options)

  await using opening = new AsyncDisposableStack()
  const state = await openState(options, config, opening)
  const { parts, authority } = state

  const own = opening.use(
    await openOwnCertificate({
      authority,
      hosts: address.hosts,
      lifetimeMs: config.certificates.controller,
      log,
      renewed: tls => front.setCertificate(tls),
    }),
  )
  const called = (peer: string) => front.called(peer)
  const fleet = openCallServer({ offers: fleetOffers(parts), maxRequestBytes: 4 * 1024 * 1024, called })
  const enrolment = openCallServer({
    offers: enrolmentOffers(parts),
    maxRequestBytes: 64 * 1024,
    stay: strangersStay,
    called,
  })
  const front = opening.use(
    await openFront({
      ...address.listen,
      tls: own.tls,
      limits: {
        handshakeMs: config.front.handshake,
        firstCallMs: config.front['first-call'],
        unfinished: config.front.unfinished,
      },
      log,
      alerts: parts.alerts,
      fleet: fleet.accept,
      enrolment: enrolment.accept,
      tunnels: parts.rendezvous,
    }),
  )
  const port = Number(front.listening.slice(front.listening.lastIndexOf(':') + 1))
  state.located(address.addresses(port))
  const metrics = options.metrics ? opening.use(await openMetrics(options.metrics, parts, front)) : undefined
  log.info(
    {
      event: 'controller.listening',
      listening: front.listening,
      cluster: parts.cluster,
      metrics: metrics?.local,
    },
    'the controller is ready',
  )

  const held = opening.move()
  const stopped = Promise.withResolvers<RelayError | undefined>()
  let closing: Promise<void> | undefined

  function close(): Promise<void> {
    closing ??= shut().then(() => stopped.resolve(undefined))
    return closing
  }

  async function shut(): Promise<void> {
    for (const host of parts.hosts.all()) host.session?.goodbye('shutting-down')
    state.close()
    await Promise.all([fleet.close(drainMs), enrolment.close(drainMs)])
    await held.disposeAsync()
    log.info({ event: 'controller.stopped' }, 'the controller has stopped')
  }

  parts.mirror.failed.catch(thrown => {
    const error = RelayError.from(thrown, 'follow the store')
    log.fatal({ event: 'store.failed', error }, 'the store cannot be followed any more: the controller stops')
    stopped.resolve(error)
    void close()
  })

  return {
    listening: front.listening,
    advertised: parts.advertised(),
    cluster: parts.cluster,
    stopped: stopped.promise,
    close,
    issueLocally: parts.localOperator.issue,
    letsIn: parts.localOperator.letsIn,
    async mintToken({ kind, name, labels = {} }) {
      const request = { kind, name, labels, role: '', ttl: undefined, uses: 1 }
      return (await parts.tokens.create(request, localActor)).token
    },
    [Symbol.asyncDispose]: close,
  }
}

/** For those with a certificate of this cluster. */
function fleetOffers(parts: Parts) {
  const { access, mirror, log, closing } = parts
  const operators = serve(OperatorServiceService, operatorActs(parts), {
    admit: access.operator,
    mirror,
    log,
    refused: parts.refusals,
    closing,
  })
  return [
    { definition: OperatorServiceService, implementation: operators },
    { definition: AgentServiceService, implementation: agentService(parts) },
  ]
}

/** For those with none. */
function enrolmentOffers(parts: Parts) {
  return [{ definition: EnrollmentServiceService, implementation: enrolmentService(parts) }]
}

async function openMetrics(address: string, parts: Parts, front: Front): Promise<MetricsServer> {
  const registry = openRegistry()
  registerMetrics(registry, parts, front)
  const server = await serveMetrics(address, registry)
  return {
    local: server.local,
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]()
      await registry[Symbol.asyncDispose]()
    },
  }
}

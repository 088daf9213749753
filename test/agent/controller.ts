import { Server, ServerCredentials, type ServerDuplexStream, type StatusObject } from '@grpc/grpc-js'
import {
  AgentServiceService,
  type AttachRequest,
  type AttachResponse,
  type Hello,
  type Welcome,
} from '#gen/fleetcat/v1/agent.ts'
import { type EnrollmentServiceServer, EnrollmentServiceService } from '#gen/fleetcat/v1/enrollment.ts'
import { until } from '#test/resources/until.ts'

export type Said = NonNullable<AttachRequest['message']>
type ValueOf<K extends Said['$case']> = Extract<Said, { $case: K }>['value']
type Word = NonNullable<AttachResponse['message']>

/** One Attach stream, as the controller's end sees it. */
export interface Visit {
  readonly hello: Hello
  /** The serial number of the certificate that the agent showed. */
  readonly serial: string | undefined
  readonly heard: Said[]
  readonly ended: boolean
  say(message: Word): boolean
  welcome(more?: Partial<Welcome>): void
  sync(revision: bigint, relays?: Extract<Word, { $case: 'sync' }>['value']['relays']): void
  /** Questions for the lease are not answered any more. After a Sync all are. */
  withholdLeases(): void
  grantLeases(): void
  /** Resolves with the first message of this kind that the test accepts. */
  hears<K extends Said['$case']>(kind: K, fits?: (value: ValueOf<K>) => unknown): Promise<ValueOf<K>>
  /** Ends the stream without a word. */
  hangUp(): void
  fail(status: Partial<StatusObject>): void
  /** Stops to read, so that the agent's end fills up. */
  pause(): void
  resume(): void
}

/** A controller that says what a test makes it say, over the real protocol. */
export async function openController(
  credentials = ServerCredentials.createInsecure(),
  port = 0,
  enroll?: EnrollmentServiceServer['enroll'],
) {
  const visits: Visit[] = []
  const server = new Server()
  if (enroll) server.addService(EnrollmentServiceService, { enroll })
  server.addService(AgentServiceService, {
    attach(stream: ServerDuplexStream<AttachRequest, AttachResponse>) {
      let visit: Visit | undefined
      const heard: Said[] = []
      let ended = false
      const leases = openLeases(nonce => stream.write({ message: { $case: 'lease', value: { nonce } } }))
      stream.on('data', ({ message }: AttachRequest) => {
        if (!message) return
        if (message.$case === 'leaseRequest') return leases.asked(message.value.nonce)
        if (message.$case !== 'hello') return void heard.push(message)
        visit = visitOf(stream, message.value, { heard, ended: () => ended, leases })
        visits.push(visit)
      })
      stream.on('error', () => {})
      stream.on('end', () => {
        ended = true
        stream.end()
      })
      stream.on('cancelled', () => {
        ended = true
      })
    },
  })
  const bound = await new Promise<number>((resolve, reject) =>
    server.bindAsync(`127.0.0.1:${port}`, credentials, (error, chosen) =>
      error ? reject(error) : resolve(chosen),
    ),
  )
  return {
    address: `127.0.0.1:${bound}`,
    port: bound,
    visits,
    async visit(count: number): Promise<Visit> {
      await until(`visit ${count}`, () => visits.length >= count)
      return visits[count - 1]!
    },
    async [Symbol.asyncDispose]() {
      server.forceShutdown()
    },
  }
}

/** Answers the questions for the lease, from `begin` on and unless they are withheld. */
function openLeases(answer: (nonce: bigint) => void) {
  let last: bigint | undefined
  let begun = false
  let withheld = false
  const grant = () => {
    if (begun && !withheld && last !== undefined) answer(last)
  }
  return {
    asked(nonce: bigint) {
      last = nonce
      grant()
    },
    begin() {
      begun = true
      grant()
    },
    withhold(now: boolean) {
      withheld = now
      grant()
    },
  }
}

function visitOf(
  stream: ServerDuplexStream<AttachRequest, AttachResponse>,
  hello: Hello,
  { heard, ended, leases }: { heard: Said[]; ended: () => boolean; leases: ReturnType<typeof openLeases> },
): Visit {
  function say(message: Word) {
    const written = stream.write({ message })
    if (message.$case === 'sync') leases.begin()
    return written
  }
  return {
    hello,
    serial: (stream.getAuthContext().sslPeerCertificate as { serialNumber?: string } | undefined)
      ?.serialNumber,
    heard,
    get ended() {
      return ended()
    },
    say,
    welcome(more) {
      say({
        $case: 'welcome',
        value: {
          cluster: 'test',
          agent: 'edge-1',
          labels: {},
          epoch: 1n,
          resumed: false,
          clock: new Date(),
          ...more,
        },
      })
      if (more?.resumed) leases.begin()
    },
    sync: (revision, relays = []) =>
      say({ $case: 'sync', value: { revision, revocations: [], relays, bans: [] } }),
    withholdLeases: () => leases.withhold(true),
    grantLeases: () => leases.withhold(false),
    async hears<K extends Said['$case']>(kind: K, fits: (value: ValueOf<K>) => unknown = () => true) {
      const find = () => heard.find(said => said.$case === kind && fits(said.value as ValueOf<K>))
      await until(`the agent says ${kind}`, find)
      return find()!.value as ValueOf<K>
    },
    hangUp: () => stream.end(),
    fail: status => void stream.emit('error', status),
    pause: () => void stream.pause(),
    resume: () => void stream.resume(),
  }
}

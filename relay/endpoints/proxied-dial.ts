import type { Address } from '../address.ts'
import type { Channel, EgressPolicy, OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { canonicalIp } from '../ip.ts'
import { talkOver } from '../proxies/talk.ts'
import type { Ask } from './proxied-ask.ts'
import { readSecretFile } from './secret-file.ts'
import { defaultConnectTimeoutMs, dialTcp, type TcpTarget } from './tcp-dial.ts'
import { checkReads } from './tls-reads.ts'
import { addressesOf } from './udp-names.ts'

export interface Destination {
  /** As `TCP:<host>:<port>`, for the ceiling. */
  readonly scope: Address
  readonly host: string
  readonly port: number
}

export interface ProxiedTarget {
  readonly scope: Address
  readonly proxy: TcpTarget
  readonly destination: Destination
  /** To which of its addresses a name is resolved here; `there`, the proxy is given the name. */
  readonly resolve: 4 | 'any' | 'there'
  readonly language: string
  readonly secretFile?: string | undefined
  readonly reads: readonly Address[]
  readonly ask: Ask
}

/**
 * Dials a proxy and asks it for the destination, all within the connect-timeout. The ceiling is asked about the whole, about
 * the proxy as the TCP target that it is, and about the destination as far as anybody here knows it.
 */
export async function dialThroughProxy(target: ProxiedTarget, cx: OpenContext): Promise<Channel> {
  const { scope, proxy, language } = target
  const what = scope.text
  const timeout = proxy.options.connectTimeout ?? defaultConnectTimeoutMs
  const deadline = performance.now() + timeout
  const left = () => Math.max(1, deadline - performance.now())
  checkReads(target.reads, cx, what)
  const secret = await secretOf(target)
  const destination = await resolved(target, cx, left())
  const egress: EgressPolicy = {
    check(address, ip) {
      cx.egress.check(address, ip)
      cx.egress.check(scope, ip)
    },
  }
  const options = { ...proxy.options, connectTimeout: left() }
  const inner = await dialTcp({ ...proxy, options }, { ...cx, egress }).catch((thrown: unknown) => {
    throw atProxy(RelayError.from(thrown, proxy.scope.text), what)
  })
  const talking = { what, language, misspoken: 'refused', withinMs: left() } as const
  await talkOver(inner, cx, talking, talk => target.ask(talk, { what, ...destination, secret }))
  return inner
}

async function resolved(
  { destination, resolve, scope: { text } }: ProxiedTarget,
  cx: OpenContext,
  ms: number,
) {
  const { host, port, scope } = destination
  if (resolve === 'there') {
    cx.egress.checkBeyond?.(scope)
    return { host, port }
  }
  const family = resolve === 4 ? resolve : undefined
  let refusal: unknown
  for (const address of await addressesOf({ host, family, scope: { ...scope, text } }, cx, ms)) {
    const ip = canonicalIp(address) ?? address
    try {
      cx.egress.check(scope, ip)
      return { host: ip, port }
    } catch (thrown) {
      refusal ??= thrown
    }
  }
  throw refusal
}

/** The first line, and nothing of what follows, which may be remarks. */
async function secretOf({ secretFile, scope }: ProxiedTarget): Promise<string | undefined> {
  if (secretFile === undefined) return undefined
  const what = `${scope.text}: ${secretFile}`
  const [line = ''] = (await readSecretFile(secretFile, what)).split(/\r?\n/, 1)
  if (line !== '') return line
  throw new RelayError('usage', { what, why: 'its first line is empty', fix: 'Write the secret there' })
}

/** A refusal of the ceiling speaks for itself. */
function atProxy(error: RelayError, what: string): RelayError {
  const { code, message, fix } = error
  if (code === 'denied') return error
  const why = `its proxy: ${fix ? message.slice(0, -fix.length - 2) : message}`
  return new RelayError(code, { what, why, fix, cause: error })
}

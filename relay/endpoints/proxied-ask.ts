import { type ErrorCode, RelayError } from '../errors.ts'
import { connectAnswer, connectRequest, errorCodeOf as httpErrorCodeOf } from '../proxies/http-connect.ts'
import { parseSocks4Reply, socks4Request } from '../proxies/socks4.ts'
import {
  errorCodeOf,
  methods,
  parseSocks5Choice,
  parseSocks5LoginAnswer,
  parseSocks5Reply,
  socks5Greeting,
  socks5Login,
  socks5Request,
  succeeded,
} from '../proxies/socks5.ts'
import type { Talk } from '../proxies/talk.ts'
import { hostPort } from './ip-parts.ts'

export interface Question {
  /** The address, for errors. */
  readonly what: string
  readonly host: string
  readonly port: number
  readonly secret: string | undefined
}

/** Asks a proxy for a connection. Rejects with a RelayError that has the proxy's answer when it says no. */
export type Ask = (talk: Talk, question: Question) => Promise<void>

/** Without a name in the address the proxy is told the one that socat sends too. */
export function askSocks4(user = process.env.LOGNAME ?? process.env.USER ?? ''): Ask {
  return async (talk, { what, host, port }) => {
    talk.say(socks4Request({ host, port, user }))
    const refusal = await talk.hear(parseSocks4Reply)
    if (refusal !== undefined) throw refused(what, 'refused', refusal)
  }
}

export function askSocks5(user: string | undefined): Ask {
  return async (talk, { what, host, port, secret }) => {
    const login = user === undefined || secret === undefined ? undefined : { user, password: secret }
    talk.say(socks5Greeting(login ? [methods.none, methods.password] : [methods.none]))
    const method = await talk.hear(parseSocks5Choice)
    if (method === methods.password && login) {
      talk.say(socks5Login(login))
      if (!(await talk.hear(parseSocks5LoginAnswer))) {
        throw refused(
          what,
          'unauthenticated',
          'login refused',
          'See to `socksuser` and the file of its password',
        )
      }
    } else if (method !== methods.none) {
      const fix = login ? undefined : 'If it wants a password, write `socksuser=` and `sockspass-file=`'
      throw refused(what, 'unauthenticated', `no acceptable way to log in (${method})`, fix)
    }
    talk.say(socks5Request(host, port))
    const reply = await talk.hear(parseSocks5Reply)
    if (reply.code !== succeeded) throw refused(what, errorCodeOf(reply), reply.text)
  }
}

export interface HttpHabits {
  readonly version?: '1.0' | '1.1'
  readonly ignorecr?: boolean
}

export function askHttp({ version = '1.0', ignorecr = false }: HttpHabits): Ask {
  return async (talk, { what, host, port, secret }) => {
    talk.say(connectRequest(hostPort(host, port), version, secret))
    const answer = await finalAnswer(talk, ignorecr)
    if (answer.status < 300) return
    const fix = answer.status === 407 ? 'See to `proxy-authorization-file=`' : undefined
    throw refused(what, httpErrorCodeOf(answer), `\`${answer.statusLine}\``, fix)
  }
}

/** A proxy may say that it is still at it, as often as the time for the handshake lets it. */
async function finalAnswer(talk: Talk, ignoreCr: boolean) {
  for (;;) {
    const answer = await talk.hear(connectAnswer(ignoreCr))
    if (answer.status >= 200) return answer
  }
}

function refused(what: string, code: ErrorCode, answer: string, fix?: string): RelayError {
  return new RelayError(code, { what, why: `the proxy answered: ${answer}`, fix })
}

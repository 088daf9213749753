import type { Asked, Channel, Layer } from '../endpoint.ts'
import { type ErrorCode, RelayError } from '../errors.ts'
import { readHost } from '../option-types.ts'
import { parseSocks4Request, socks4Reply } from './socks4.ts'
import {
  commandNotSupported,
  connectCommand,
  type Login,
  methods,
  parseSocks5Greeting,
  parseSocks5Login,
  parseSocks5Request,
  replyCodeFor,
  socks5Choice,
  socks5LoginAnswer,
  socks5Reply,
  succeeded,
} from './socks5.ts'
import { type Parser, partWith, type Talk, talkOver } from './talk.ts'

export interface SocksServer {
  /** The address, for errors. */
  readonly what: string
  /** Whether this is a user with the right password; absent: nobody is asked. */
  readonly accepts?: ((login: Login) => Promise<boolean>) | undefined
}

/** A version of the protocol, once the client is known and has said what it wants. */
interface Wish {
  readonly command: number
  readonly host: string
  readonly port: number
  readonly granted: Buffer
  refused(code: ErrorCode): Buffer
  readonly unsupported: Buffer
}

/** SOCKS4, SOCKS4a and SOCKS5 over any channel, as the side that is asked. Who is through waits for its answer. */
export function socksServer({ what, accepts }: SocksServer, withinMs: number): Layer {
  return async (inner, cx) => {
    const talking = { what, language: 'SOCKS', misspoken: 'usage', withinMs } as const
    const { host, port, granted, refused } = await talkOver(inner, cx, talking, async talk => {
      const version = await talk.hear(parseVersion)
      const wish =
        version === 4 ? await hearSocks4(talk, what, accepts) : await hearSocks5(talk, what, accepts)
      return await checked(wish, talk, what)
    })
    const asked: Asked = {
      host,
      port,
      granted: () => void inner.stream.write(granted),
      refused: ({ code }) => partWith(inner.stream, refused(code)),
    }
    return { ...inner, asked } satisfies Channel
  }
}

/** The first byte says which version it is, and stays where it is. */
const parseVersion: Parser<4 | 5> = bytes => {
  const [version] = bytes
  if (version === 4 || version === 5) return { value: version, length: 0 }
  return { problem: 'it does not speak SOCKS' }
}

async function hearSocks4(talk: Talk, what: string, accepts: SocksServer['accepts']): Promise<Wish> {
  const request = await talk.hear(parseSocks4Request)
  const refusal = socks4Reply(false)
  if (accepts) {
    await talk.part(refusal)
    throw unknown(what, 'SOCKS4 has no password, and this proxy asks for one')
  }
  return { ...request, granted: socks4Reply(true), refused: () => refusal, unsupported: refusal }
}

async function hearSocks5(talk: Talk, what: string, accepts: SocksServer['accepts']): Promise<Wish> {
  const offered = await talk.hear(parseSocks5Greeting)
  const method = accepts ? methods.password : methods.none
  if (!offered.includes(method)) {
    await talk.part(socks5Choice(methods.unacceptable))
    throw unknown(what, accepts ? 'it offers no password' : 'it wants to log in, and nobody can here')
  }
  talk.say(socks5Choice(method))
  if (accepts) {
    const isWelcome = await accepts(await talk.hear(parseSocks5Login))
    if (!isWelcome) {
      await talk.part(socks5LoginAnswer(false))
      throw unknown(what, 'the user or the password is wrong')
    }
    talk.say(socks5LoginAnswer(true))
  }
  const request = await talk.hear(parseSocks5Request)
  return {
    ...request,
    granted: socks5Reply(succeeded),
    refused: code => socks5Reply(replyCodeFor(code)),
    unsupported: socks5Reply(commandNotSupported),
  }
}

async function checked(wish: Wish, talk: Talk, what: string): Promise<Wish> {
  if (wish.command !== connectCommand) {
    await talk.part(wish.unsupported)
    const why = `it asks for SOCKS command ${wish.command}, and there is CONNECT only`
    throw new RelayError('unsupported', { what, why })
  }
  const host = readHost(wish.host)
  if (host === undefined || wish.port === 0) {
    await talk.part(wish.refused('unresolved'))
    throw new RelayError('usage', { what, why: 'it asks for what is no host name, or no port' })
  }
  return { ...wish, host }
}

function unknown(what: string, why: string): RelayError {
  return new RelayError('unauthenticated', { what, why })
}

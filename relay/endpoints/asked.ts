import type { Address } from '../address.ts'
import type { Channel, Destination, EgressPolicy, EndpointKind, OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { connectOptions, socketOptions } from '../option-groups.ts'
import { valued } from '../option-types.ts'
import { type OptionGroup, type OptionValues, readOptions } from '../options.ts'
import { covers, type DestinationPattern, readDestinationPattern } from './destinations.ts'
import { ipScope, wrongAddress } from './ip-parts.ts'
import { dialTcp } from './tcp-dial.ts'

/** Several, parted by semicolons, for commas end an option. */
const destinations = (name: string, help: { summary: string }) =>
  valued<readonly DestinationPattern[]>(
    name,
    help,
    '<host:port>[;<host:port>]…',
    '*.example.com:443',
    text => {
      try {
        const refuse = (why: string, fix: string) => new RelayError('usage', { what: name, why, fix })
        return { value: text.split(';').map(part => readDestinationPattern(part.trim(), refuse)) }
      } catch (thrown) {
        const { why, fix } = RelayError.from(thrown, name)
        return { problem: why, write: fix.replace(/^Write /, '') }
      }
    },
  )

const askedOptions = {
  name: 'asked',
  options: {
    allowTo: destinations('allow-to', { summary: 'go to these places only; anywhere if absent' }),
    denyTo: destinations('deny-to', { summary: 'never go to these places, whatever else is allowed' }),
  },
} as const satisfies OptionGroup

const groups = [askedOptions, socketOptions, connectOptions] as const
const syntax = 'ASKED[:<host>:<port>]'

/** The target of listeners whose clients say where they want to go. */
export const askedKinds: readonly EndpointKind[] = [
  {
    keyword: 'ASKED',
    aliases: [],
    syntax,
    summary:
      'a TCP connection to where the client of a SOCKS-LISTEN asks to; <host> and <port> may be patterns',
    groups,
    role: 'target',
    bind(address) {
      const options = readOptions(address, groups)
      const allowTo = allowedBy(address, options)
      return {
        address,
        scope: scopeOf(address, '*:*'),
        goesWhereAsked: (allowTo ?? [{ text: '*:*' }]).map(({ text }) => scopeOf(address, text)),
        dialer: { dial: cx => dialAsked(address, { ...options, allowTo }, cx) },
      }
    },
  },
]

type Options = OptionValues<typeof groups>

/** One place may be written as the arguments, many as the option. */
function allowedBy(address: Address, { allowTo }: Options): readonly DestinationPattern[] | undefined {
  const { args } = address
  const refuse = (why: string, fix: string) => wrongAddress(address, why, fix)
  if (args.length === 0) return allowTo
  if (args.length !== 2)
    throw refuse(`it has ${args.length} arguments instead of none or 2`, `Write \`${syntax}\``)
  if (allowTo) throw refuse('it says twice where it may go', 'Write all of it as `allow-to=`')
  return [readDestinationPattern(args.join(':'), refuse)]
}

function scopeOf({ host }: Address, place: string): Address {
  const [, name = '', port = ''] = /^(.+):([^:]+)$/.exec(place) ?? []
  return { keyword: 'ASKED', args: [name, port], options: [], text: `ASKED:${place}`, ...(host && { host }) }
}

/** As a TCP target like any other, which moreover the address and the ceiling must let clients ask for. */
async function dialAsked(
  address: Address,
  options: Options,
  { asked, ...cx }: OpenContext,
): Promise<Channel> {
  if (!asked) {
    const why = 'it goes where a client asks to, and nobody has asked'
    throw new RelayError('usage', { what: address.text, why })
  }
  const { host, port } = asked
  const tcp = ipScope(address, 'TCP', host, port)
  const scope = { ...tcp, keyword: 'ASKED', text: tcp.text.replace('TCP', 'ASKED') }
  const check = (ip: string | undefined) => {
    checkAllowed(options, asked, ip, tcp.text)
    cx.egress.check(tcp, ip)
    cx.egress.check(scope, ip)
  }
  const egress: EgressPolicy = { check: (_, ip) => check(ip) }
  const target = { scope: tcp, host, port, family: options.pf, options }
  const channel = await dialTcp(target, { ...cx, egress })
  try {
    // The ceiling may have become narrower meanwhile, and from now on it is asked by where the connection went.
    check(channel.peer.ip)
    return channel
  } catch (denial) {
    await channel[Symbol.asyncDispose]()
    throw denial
  }
}

function checkAllowed(
  { allowTo, denyTo }: Options,
  asked: Destination,
  ip: string | undefined,
  what: string,
): void {
  const of = (patterns: readonly DestinationPattern[] | undefined, sense: 'allow' | 'deny') =>
    patterns?.find(pattern => covers(pattern, asked, ip ?? '', sense))
  const denied = of(denyTo, 'deny')
  const seen = ip === undefined || ip === asked.host ? what : `${what} (${ip})`
  if (denied) throw refused(seen, `the relay's \`deny-to\` has ${denied.text}`)
  if (allowTo && !of(allowTo, 'allow')) throw refused(seen, "the relay's `allow-to` does not have it")
}

const refused = (what: string, why: string) =>
  new RelayError('denied', { what, why, fix: 'Change the address of its ASKED' })

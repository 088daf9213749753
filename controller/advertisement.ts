import { hostname } from 'node:os'
import { RelayError } from '#relay/errors.ts'

/** Where the controller listens, and by what names it is reached. */
export interface Advertisement {
  readonly listen: Endpoint
  /** The host names and addresses that its certificate carries. */
  readonly hosts: readonly string[]
  /** What join tokens carry, once the port is known. */
  addresses(port: number): readonly string[]
}

/** Throws a RelayError `usage` for what nobody could listen at or dial. */
export function readAdvertisement(options: { listen: string; advertise?: readonly string[] }): Advertisement {
  const listen = parseEndpoint(options.listen, '--listen')
  const advertised = (options.advertise ?? []).map(parseAdvertised)
  // Nobody can dial "every address"; without --advertise the host's own name has to do.
  const own = isWildcard(listen.host) ? hostname() : listen.host
  if (advertised.length === 0 && !isDialable(own)) {
    throw new RelayError('usage', {
      what: `--listen ${options.listen}`,
      why: `this host's name, \`${own}\`, is none that others could dial`,
      fix: 'Say by what name they can: --advertise NAME:PORT',
    })
  }
  return {
    listen,
    hosts: [...advertised.map(({ host }) => host), own].filter(isDialable),
    addresses(port) {
      return (advertised.length > 0 ? advertised : [{ host: own, port }]).map(formatEndpoint)
    },
  }
}

function parseAdvertised(text: string): Endpoint {
  const endpoint = parseEndpoint(text, '--advertise')
  const { host, port } = endpoint
  const why =
    port === 0
      ? 'nobody can dial port 0'
      : isWildcard(host)
        ? 'nobody can dial "every address"'
        : isDialable(host)
          ? undefined
          : `\`${host}\` is no host name`
  if (!why) return endpoint
  throw new RelayError('usage', {
    what: `--advertise ${text}`,
    why,
    fix: 'Write the name or address by which agents reach this controller: --advertise NAME:PORT',
  })
}

function isWildcard(host: string): boolean {
  return host === '0.0.0.0' || host === '::'
}

/** What join tokens and certificates can carry. */
function isDialable(host: string): boolean {
  return (
    host.includes(':') ||
    /^(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/i.test(host)
  )
}

interface Endpoint {
  readonly host: string
  readonly port: number
}

/** `HOST:PORT`, `[::1]:7443`, or `:7443` for every address. */
function parseEndpoint(text: string, what: string): Endpoint {
  const found = /^(?:\[([0-9a-fA-F:.]+)\]|([^:\s]*)):(\d{1,5})$/.exec(text)
  const port = Number(found?.[3])
  if (!found || port > 65_535) {
    throw new RelayError('usage', {
      what: `${what} ${text}`,
      why: found ? 'ports end at 65535' : 'it is not HOST:PORT',
      fix: `Write for example ${what} 127.0.0.1:7443`,
    })
  }
  return { host: found[1] ?? (found[2] || '0.0.0.0'), port }
}

function formatEndpoint({ host, port }: Endpoint): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

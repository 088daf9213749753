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

export function readAdvertisement(options: { listen: string; advertise?: readonly string[] }): Advertisement {
  const listen = parseEndpoint(options.listen, '--listen')
  const advertised = (options.advertise ?? []).map(text => parseEndpoint(text, '--advertise'))
  return {
    listen,
    hosts: [...advertised.map(({ host }) => host), isWildcard(listen.host) ? hostname() : listen.host],
    addresses(port) {
      if (advertised.length > 0) return advertised.map(formatEndpoint)
      // Nobody can dial "every address"; without --advertise the host's own name has to do.
      return [formatEndpoint({ host: isWildcard(listen.host) ? hostname() : listen.host, port })]
    },
  }
}

function isWildcard(host: string): boolean {
  return host === '0.0.0.0' || host === '::'
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
      why: 'it is not HOST:PORT',
      fix: `Write for example ${what} 127.0.0.1:7443`,
    })
  }
  return { host: found[1] ?? (found[2] || '0.0.0.0'), port }
}

function formatEndpoint({ host, port }: Endpoint): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

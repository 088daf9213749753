import { hostname } from 'node:os'
import { RelayError } from '#relay/errors.ts'
import { formatHostPort, type HostPort, parseHostPort } from '#wire/host-port.ts'

/** Where the controller listens, and by what names it is reached. */
export interface Advertisement {
  readonly listen: HostPort
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
      return (advertised.length > 0 ? advertised : [{ host: own, port }]).map(formatHostPort)
    },
  }
}

function parseAdvertised(text: string): HostPort {
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

/** `:7443` is every address. */
function parseEndpoint(text: string, option: string): HostPort {
  const fix = `Write for example ${option} 127.0.0.1:7443`
  return parseHostPort(text, { what: `${option} ${text}`, fix, anyHost: '0.0.0.0' })
}

import { RelayError } from '#relay/errors.ts'

/** Where something listens or is dialled. An IPv6 address is bare here, and in brackets in its text. */
export interface HostPort {
  readonly host: string
  readonly port: number
}

export interface HostPortSyntax {
  /** What is wrong if it cannot be read: `--listen 10.0.0.5`. */
  readonly what: string
  readonly fix: string
  /** What `:7443`, without a host, stands for; where there is nothing it may not be left out. */
  readonly anyHost?: string
}

/** Reads `HOST:PORT` or `[IPV6]:PORT`. Throws a RelayError `usage`. */
export function parseHostPort(text: string, { what, fix, anyHost }: HostPortSyntax): HostPort {
  const found = /^(?:\[([0-9a-fA-F:.]+)\]|([^:\s[\]]*)):(\d{1,5})$/.exec(text)
  const host = found?.[1] ?? (found?.[2] || anyHost)
  const port = Number(found?.[3])
  if (!found || !host) throw new RelayError('usage', { what, why: 'it is not HOST:PORT', fix })
  if (port > 65_535) throw new RelayError('usage', { what, why: 'ports end at 65535', fix })
  return { host, port }
}

export function formatHostPort({ host, port }: HostPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

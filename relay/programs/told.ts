import type { X509Certificate } from 'node:crypto'
import type { Peer } from '../endpoint.ts'
import { fullIp } from '../ip.ts'

/** The socat whose addresses these are, for scripts that ask which options they may write. */
const socatVersion = '1.7.4.4'

/** What a program is told of this process and of its client, each with the name that socat gives it and with ours. */
export function toldOf(
  client: Peer | undefined,
  version: string | undefined,
  prefix = 'SOCAT',
): Record<string, string> {
  const pid = String(process.pid)
  const facts = { PID: pid, PPID: pid, ...(client && ofClient(client)) }
  const twice = Object.entries(facts).flatMap(([name, value]) =>
    [prefix, 'FLEETCAT'].map(program => [`${program}_${name}`, value.replaceAll('\0', '')]),
  )
  return {
    ...Object.fromEntries(twice),
    [`${prefix}_VERSION`]: socatVersion,
    ...(version !== undefined && { FLEETCAT_VERSION: version }),
  }
}

function ofClient({ ip, text, local, certificate }: Peer): Record<string, string> {
  const here = local?.()
  const shown = certificate?.()
  return {
    ...(ip !== undefined && { PEERADDR: written(ip), PEERPORT: text.slice(text.lastIndexOf(':') + 1) }),
    ...(here && { SOCKADDR: written(here.address) }),
    ...(here?.port !== undefined && { SOCKPORT: String(here.port) }),
    ...(shown && ofCertificate(shown)),
  }
}

/** As socat writes it: an IPv6 address in full. */
function written(address: string): string {
  return !address.startsWith('/') && address.includes(':') ? `[${fullIp(address)}]` : address
}

/** By the names that socat has for the parts of a subject. */
const subjectParts: Readonly<Record<string, string>> = {
  CN: 'COMMONNAME',
  C: 'COUNTRYNAME',
  L: 'LOCALITYNAME',
  ST: 'STATEORPROVINCENAME',
  O: 'ORGANIZATIONNAME',
  OU: 'ORGANIZATIONALUNITNAME',
  emailAddress: 'EMAILADDRESS',
  serialNumber: 'SERIALNUMBER',
}

function ofCertificate({ subject, issuer, subjectAltName = '' }: X509Certificate): Record<string, string> {
  const parts: Record<string, string> = {}
  const add = (name: string, value: string) => {
    parts[name] = name in parts ? `${parts[name]} // ${value}` : value
  }
  for (const [type, value] of partsOf(subject)) {
    const name = subjectParts[type]
    if (name !== undefined) add(`OPENSSL_X509_${name}`, value)
  }
  for (const [, name = ''] of subjectAltName.matchAll(/DNS:([^",\s]+)/g))
    add('OPENSSL_X509V3_SUBJECTALTNAME_DNS', name)
  return {
    OPENSSL_X509_SUBJECT: inOneLine(subject),
    OPENSSL_X509_ISSUER: inOneLine(issuer),
    ...parts,
  }
}

/** Node writes a part a line, with backslashes. Those of control characters, `\0A`, stay as they are. */
function partsOf(name: string): [type: string, value: string][] {
  return name.split('\n').flatMap(line => {
    const at = line.indexOf('=')
    return at < 0
      ? []
      : [[line.slice(0, at), line.slice(at + 1).replace(/\\([^0-9A-F])/gi, '$1')] as [string, string]]
  })
}

/** As OpenSSL writes it. */
function inOneLine(name: string): string {
  const quoted = (value: string) =>
    /^[ #]|[,+"<>;\\]| $/.test(value) ? `"${value.replace(/["\\]/g, '\\$&')}"` : value
  return partsOf(name)
    .map(([type, value]) => `${type} = ${quoted(value)}`)
    .join(', ')
}

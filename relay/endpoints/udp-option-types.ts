import { canonicalIp, contains, parseCidr } from '../ip.ts'
import { type Help, readHost, valued } from '../option-types.ts'
import type { OptionSpec, Reading } from '../options.ts'
import { readPort } from '../ports.ts'
import type { IpVersion } from './ip-parts.ts'

/** Where a socket is bound, as far as an address says it. */
export interface LocalAddress {
  readonly host?: string
  readonly port?: number
}

/** A group of receivers that a socket joins on one interface, which is named or has this IPv4 address. */
export interface Membership {
  readonly group: string
  readonly version: IpVersion
  readonly on: string
  /** If there is one, only what this address sends. */
  readonly source?: string
}

/** As in socat: `10.0.0.1`, `10.0.0.1:6666`, `:6666`, `[::1]:6666`. */
export function localAddress(name: string, help: Help): OptionSpec<LocalAddress> {
  return valued<LocalAddress>(name, help, '[<host>][:<port>]', '127.0.0.1:6666', text => {
    const [, hostText = '', portText] = /^(\[[^\]]*\]|[^:]*)(?::(.*))?$/.exec(text) ?? []
    const host = hostText === '' ? undefined : readHost(hostText)
    const port = portText === undefined || portText === '' ? undefined : readPort(portText)
    if ((hostText === '') === (host === undefined) && !portText === (port === undefined) && (host || port)) {
      return { value: { ...(host !== undefined && { host }), ...(port && { port }) } }
    }
    return {
      problem: 'it is neither an address nor a port',
      write: `e.g. \`${name}=127.0.0.1\`, \`${name}=:6666\` or \`${name}=[::1]:6666\``,
    }
  })
}

/** The name of a network interface, or an IP address that it has. */
export function interfaceName(name: string, help: Help): OptionSpec<string> {
  return valued<string>(name, help, '<interface>', 'eth0', text => {
    const value = readInterface(text)
    return value === undefined ? noInterface(`${name}=eth0`) : { value }
  })
}

export function membership(name: string, help: Help): OptionSpec<Membership> {
  const version = name.includes('6') ? 6 : 4
  const example = `${name}=${version === 4 ? '224.255.0.1:eth0' : '[ff02::4242]:eth0'}`
  return valued<Membership>(name, help, '<group>:<interface>', example.slice(name.length + 1), text => {
    const [, group = '', on = ''] = /^(\[[^\]]*\]|[^:]*):(.*)$/.exec(text) ?? []
    return readMembership({ version, group, on, example })
  })
}

export function sourceMembership(name: string, help: Help): OptionSpec<Membership> {
  const example = '232.1.1.1:eth0:10.0.0.1'
  return valued<Membership>(name, help, '<group>:<interface>:<source>', example, text => {
    const [group = '', on = '', source = '', ...more] = text.split(':')
    const sender = canonicalIp(source)
    if (sender === undefined || sender.includes(':') || more.length > 0)
      return {
        problem: 'it names no source',
        write: `a group, an interface and a source, e.g. \`${name}=${example}\``,
      }
    const read = readMembership({ version: 4, group, on, example: `${name}=${example}` })
    return 'value' in read ? { value: { ...read.value, source: sender } } : read
  })
}

interface MembershipParts {
  readonly version: IpVersion
  readonly group: string
  readonly on: string
  readonly example: string
}

function readMembership({ version, group, on, example }: MembershipParts): Reading<Membership> {
  const ip = canonicalIp(group)
  if (ip === undefined || !contains(groups[version], ip)) {
    const write = `an address of ${groups[version].text} and an interface, e.g. \`${example}\``
    return { problem: `it names no IPv${version} group`, write }
  }
  const found = readInterface(on)
  return found === undefined ? noInterface(example) : { value: { group: ip, version, on: found } }
}

const groups = { 4: parseCidr('224.0.0.0/4'), 6: parseCidr('ff00::/8') }

function readInterface(text: string): string | undefined {
  const ip = text.includes('.') || text.includes(':') ? canonicalIp(text) : undefined
  return ip ?? (/^(?!\d+$)[\w.@-]{1,15}$/.test(text) ? text : undefined)
}

/** Only names are the same after a restart; Node knows no numbers either. */
function noInterface(example: string) {
  return {
    problem: 'it names no interface',
    write: `the interface's name or its IP address, e.g. \`${example}\``,
  }
}

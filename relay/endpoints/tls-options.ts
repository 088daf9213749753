import { isIP } from 'node:net'
import { canonicalIp } from '../ip.ts'
import { flag, host, refused } from '../option-types.ts'
import type { OptionGroup, OptionSpec, Reading } from '../options.ts'

interface Help {
  readonly aliases?: readonly string[]
  readonly summary: string
}

function text<T>(
  name: string,
  { aliases = [], summary }: Help,
  syntax: string,
  example: string,
  read: (text: string) => Reading<T>,
): OptionSpec<T> {
  const write = `e.g. \`${name}=${example}\``
  return {
    name,
    aliases,
    syntax,
    summary,
    read: value => (value ? read(value) : { problem: 'it needs a value', write }),
  }
}

const file = (name: string, help: Help) =>
  text(name, help, '<file>', `/etc/ssl/${name}.pem`, value => ({ value }))

/** Several, parted by semicolons, for commas end an option. */
function list(
  name: string,
  help: Help,
  syntax: string,
  example: string,
  item: (part: string) => string | undefined,
): OptionSpec<readonly string[]> {
  return text<readonly string[]>(name, help, syntax, example, written => {
    const value: string[] = []
    for (const part of written.split(';')) {
      const read = item(part.trim())
      if (read === undefined) return { problem: `\`${part}\` is none`, write: `e.g. \`${name}=${example}\`` }
      value.push(read)
    }
    return { value }
  })
}

type Version = 'TLSv1.2' | 'TLSv1.3'

function version(name: string, help: Help): OptionSpec<Version> {
  return text<Version>(name, help, '<version>', 'TLS1.3', written => {
    const [, digits] = /^TLS(?:v)?(1\.[23])$/i.exec(written) ?? []
    if (digits) return { value: `TLSv${digits}` as Version }
    const isOld = /^(SSL|TLS)v?[123](\.[01])?$/i.test(written)
    const problem = isOld ? 'versions before TLS 1.2 are broken and not spoken' : 'it is no version of TLS'
    return { problem, write: `\`${name}=TLS1.2\` or \`${name}=TLS1.3\`` }
  })
}

/** What both sides of TLS may be told. */
export const tlsOptions = {
  name: 'tls',
  options: {
    cert: file('cert', {
      aliases: ['certificate', 'openssl-certificate'],
      summary:
        "this side's certificate, and its chain, in PEM; with the key in the same file or in `key`. `auto`: one of the fleet's authority, which renews itself",
    }),
    key: file('key', {
      aliases: ['openssl-key'],
      summary: 'the private key of `cert`, in PEM and not encrypted',
    }),
    cafile: file('cafile', {
      aliases: ['openssl-cafile'],
      summary: "the authorities that a peer's certificate may come from, in PEM",
    }),
    dhparams: file('dhparams', {
      aliases: ['dh', 'dhparam', 'openssl-dhparam', 'openssl-dhparams'],
      summary: 'Diffie-Hellman parameters in PEM, for old ciphers; standard ones if absent',
    }),
    verify: flag('verify', {
      aliases: ['openssl-verify'],
      summary: 'the peer must show a certificate that verifies; on unless `verify=0`',
    }),
    commonName: host('commonname', {
      aliases: ['cn', 'openssl-commonname'],
      summary: "the host name that the peer's certificate must be for",
    }),
    identity: list(
      'identity',
      { summary: "one of these names (URI, DNS, email) must be in the peer's certificate, exactly" },
      '<name>[;<name>]…',
      'spiffe://prod/agent/web-1',
      part => part || undefined,
    ),
    fingerprint: list(
      'fingerprint',
      {
        summary:
          "the peer's certificate must be one of these, by its SHA-256; with `verify=0` that is enough",
      },
      '<sha256>[;<sha256>]…',
      'c2:5b:…',
      part => {
        const hex = part.replace(/^sha-?256[:=]/i, '').replaceAll(':', '')
        return /^[0-9a-f]{64}$/i.test(hex) ? hex.toLowerCase() : undefined
      },
    ),
    cipher: text(
      'cipher',
      {
        aliases: ['ciphers', 'cipherlist', 'openssl-cipherlist'],
        summary: 'ciphers that may be used, as OpenSSL lists them',
      },
      '<list>',
      'ECDHE+AESGCM',
      value => ({ value }),
    ),
    minVersion: version('openssl-min-proto-version', {
      aliases: ['min-version', 'min-proto-version'],
      summary: 'the oldest TLS version to accept; TLS1.2 if absent',
    }),
    maxVersion: version('openssl-max-proto-version', {
      aliases: ['max-version', 'max-proto-version'],
      summary: 'the newest TLS version to accept',
    }),
    alpn: list(
      'alpn',
      { summary: 'application protocols to agree on, the best first' },
      '<protocol>[;<protocol>]…',
      'h2;http/1.1',
      part => (part.length > 0 && part.length < 256 ? part : undefined),
    ),
    capath: refused('capath', {
      aliases: ['openssl-capath'],
      summary: 'a directory of authorities',
      because:
        'Node looks up no directory of authorities. Gather them in one file (`cat DIR/*.pem`) for `cafile=`',
    }),
    method: refused('method', {
      aliases: ['openssl-method', 'opensslmethod'],
      summary: 'the one TLS version',
      because: 'socat itself gave it up. Write `openssl-min-proto-version=` and `openssl-max-proto-version=`',
    }),
    compress: refused('compress', {
      aliases: ['openssl-compress'],
      summary: 'TLS compression',
      because: 'TLS compression betrays what it compresses, and Node has none. Leave it out',
    }),
    fips: refused('fips', {
      aliases: ['openssl-fips'],
      summary: 'FIPS mode',
      because: 'it holds for a whole process. Start fleetcat with NODE_OPTIONS=--force-fips',
    }),
    egd: refused('egd', {
      aliases: ['openssl-egd'],
      summary: 'a source of random numbers',
      because: 'the kernel has good ones. Leave it out',
    }),
    pseudo: refused('pseudo', {
      aliases: ['openssl-pseudo'],
      summary: 'bad random numbers',
      because: 'keys would be guessed. Leave it out: the kernel has good random numbers',
    }),
    maxfraglen: refused('openssl-maxfraglen', {
      aliases: ['maxfraglen'],
      summary: 'size of received fragments',
      because: 'Node has no way to set it. Leave it out',
    }),
    maxsendfrag: refused('openssl-maxsendfrag', {
      aliases: ['maxsendfrag'],
      summary: 'size of sent fragments',
      because: 'Node has no way to set it. Leave it out',
    }),
  },
} as const satisfies OptionGroup

const hostName = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/

/** What only the side that answers may be told. */
export const tlsServerOptions = {
  name: 'tls server',
  options: {
    certNames: list(
      'cert-names',
      {
        summary:
          'the host names and IPs that the certificate of `cert=auto` is for; where it listens and the name of the agent if absent',
      },
      '<host>[;<host>]…',
      'web.example.com;10.0.0.5',
      part => {
        const name = part.replace(/^\[|\]$/g, '').toLowerCase()
        return canonicalIp(name) ?? (hostName.test(name) ? name : undefined)
      },
    ),
  },
} as const satisfies OptionGroup

/** What only the side that speaks first may be told. */
export const tlsClientOptions = {
  name: 'tls client',
  options: {
    snihost: text(
      'snihost',
      {
        aliases: ['openssl-snihost', 'servername'],
        summary: 'the name to ask the server for, in clear; `commonname` or the host if absent',
      },
      '<name>',
      'www.example.com',
      written => {
        if (isIP(written.replace(/^\[|\]$/g, '')) === 0) return { value: written.toLowerCase() }
        return { problem: 'servers are asked for by name, not by IP', write: 'a host name, or leave it out' }
      },
    ),
    noSni: flag('nosni', {
      aliases: ['no-sni', 'openssl-no-sni'],
      summary: 'ask the server for no name',
    }),
  },
} as const satisfies OptionGroup

import { flag, refused, valued } from '../option-types.ts'
import type { OptionGroup } from '../options.ts'
import { readPort } from '../ports.ts'

const inFiles =
  'addresses are listed and logged, and a password in one would be too. Write it into a file that only its owner can read'

const port = (name: string, help: { summary: string }) =>
  valued<number>(name, help, '<port>', '1080', text => {
    const value = readPort(text)
    if (value) return { value }
    return { problem: 'it is no port', write: 'a number from 1 to 65535, or a service name' }
  })

/** A user's name in the one byte of length that SOCKS has for it. */
const user = valued<string>(
  'socksuser',
  { summary: 'the name that the proxy is told' },
  '<name>',
  'alice',
  text =>
    Buffer.byteLength(text) <= 255 && !text.includes('\0')
      ? { value: text }
      : { problem: 'it is longer than 255 bytes', write: 'a shorter one' },
)

const secret = (name: string, help: { summary: string; aliases?: readonly string[] }) =>
  valued<string>(name, help, '<file>', `/etc/fleetcat/${name}`, text => ({ value: text }))

export const socks4Options = {
  name: 'socks',
  options: {
    port: port('socksport', { summary: "the proxy's port; 1080 if absent" }),
    user,
  },
} as const satisfies OptionGroup

export const socks5Options = {
  name: 'socks5',
  options: {
    ...socks4Options.options,
    passwordFile: secret('sockspass-file', {
      summary: 'the file with the password of `socksuser`; readable to its owner only',
    }),
    password: refused('sockspass', {
      summary: 'the password of `socksuser`',
      because: `${inFiles}, and \`sockspass-file=\` with its name`,
    }),
    resolve: flag('resolve', { summary: 'resolve the name here, and give the proxy an IP address' }),
  },
} as const satisfies OptionGroup

export const httpProxyOptions = {
  name: 'proxy',
  options: {
    port: port('proxyport', { summary: "the proxy's port; 8080 if absent" }),
    authorizationFile: secret('proxy-authorization-file', {
      aliases: ['proxyauthfile'],
      summary: 'the file with `user:password` for the proxy; readable to its owner only',
    }),
    authorization: refused('proxy-authorization', {
      aliases: ['proxyauth'],
      summary: '`user:password` for the proxy',
      because: `${inFiles}, and \`proxy-authorization-file=\` with its name`,
    }),
    resolve: flag('resolve', { summary: 'resolve the name here, and give the proxy an IP address' }),
    ignorecr: flag('ignorecr', { summary: "take LF alone for the end of a line of the proxy's answer" }),
    version: valued<'1.0' | '1.1'>(
      'http-version',
      { summary: 'the version of HTTP to ask in; 1.0 if absent' },
      '<version>',
      '1.1',
      text =>
        text === '1.0' || text === '1.1'
          ? { value: text }
          : { problem: 'CONNECT is of HTTP 1', write: '`http-version=1.0` or `http-version=1.1`' },
    ),
  },
} as const satisfies OptionGroup

import { RelayError } from './errors.ts'
import { readToken, type Stop, writeToken } from './lexer.ts'

/** `name[=value]` of an address. */
export interface Option {
  /** As typed, in lower case; aliases are resolved by whoever reads it (options.ts). */
  readonly name: string
  /** Unquoted. Absent for `name`, empty for `name=`. */
  readonly value?: string
  /** Where the name starts in the address's text, counted from 0. */
  readonly at: number
}

/** One end of a relay, as written: `KEYWORD[:arg…][,option[=value]]…`. */
export interface Address {
  /** In upper case, as typed; aliases are resolved by the table. */
  readonly keyword: string
  /** Unquoted; brackets stay: the arguments of `TCP:[::1]:80` are `[::1]` and `80`. */
  readonly args: readonly string[]
  readonly options: readonly Option[]
  /** The agent of `@AGENT/ADDRESS`: the rest of the address is opened there, through a tunnel. */
  readonly host?: string
  readonly text: string
}

/** What a relay reads from and writes to: the same address twice, unless a dual address `READ!!WRITE` parts them. */
export interface Target {
  readonly read: Address
  readonly write: Address
}

/** Longer addresses are refused. */
export const maxAddressLength = 8_192

/**
 * Reads one address. Throws a RelayError `usage` that points at the character, and nothing else, whatever the
 * input; takes time linear in its length. Knows the grammar only: whether the keyword and the options exist, the
 * table says.
 */
export function parseAddress(text: string): Address {
  refuseUnprintable(text)
  const { address, end } = readSingle(text, 0)
  if (end === text.length) return address
  throw addressError(text, end, {
    why: 'a dual address `READ!!WRITE` cannot stand here',
    fix: 'Write one address without `!!`',
  })
}

/** Reads an address, or the two of `READ!!WRITE`. Throws as `parseAddress` does. */
export function parseTarget(text: string): Target {
  refuseUnprintable(text)
  const first = readSingle(text, 0)
  if (first.end === text.length) return { read: first.address, write: first.address }
  const second = readSingle(text, first.end + 2)
  if (second.end === text.length) return { read: first.address, write: second.address }
  throw addressError(text, second.end, {
    why: 'a dual address has two halves',
    fix: 'Remove this `!!` and what follows',
  })
}

/** The canonical spelling, which `parseAddress` reads back as the same keyword, arguments, options and host. */
export function formatAddress({ host, keyword, args, options }: Omit<Address, 'text'>): string {
  const place = host === undefined ? '' : `@${host}/`
  const colons = args.map(arg => `:${writeToken(arg)}`).join('')
  const commas = options.map(
    ({ name, value }) => `,${name}${value === undefined ? '' : `=${writeToken(value)}`}`,
  )
  return place + keyword + colons + commas.join('')
}

/** An error that shows the address and points at a character of it. */
export function addressError(
  text: string,
  at: number,
  { code = 'usage', why, fix }: { code?: 'usage' | 'unsupported'; why: string; fix: string },
): RelayError {
  return new RelayError(code, { what: `address \`${shown(text, at)}\`, character ${at + 1}`, why, fix })
}

/** Text from outside, fit for a message: the part around `at` if it is long, and nothing that a terminal would obey. */
export function shown(text: string, at = 0): string {
  const from = text.length <= longestShown ? 0 : Math.max(0, at - longestShown / 2)
  const part = text.slice(from, from + longestShown)
  const visible = part.replace(unprintable, char => `\\u{${char.codePointAt(0)!.toString(16)}}`)
  return `${from > 0 ? '…' : ''}${visible}${from + longestShown < text.length ? '…' : ''}`
}

const longestShown = 160

/** Control characters, line separators, bidirectional overrides, invisible joiners, halves of surrogate pairs. */
const unprintable = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu

function refuseUnprintable(text: string): void {
  if (text.length > maxAddressLength) {
    throw addressError(text, maxAddressLength, {
      why: `it has ${text.length} characters, more than ${maxAddressLength}`,
      fix: 'Put long commands into a script, and lists into several relays',
    })
  }
  const at = text.search(unprintable)
  if (at < 0) return
  const code = text.codePointAt(at)!.toString(16).toUpperCase().padStart(4, '0')
  throw addressError(text, at, {
    why: `the character U+${code} cannot stand in an address`,
    fix: 'Remove it; a line end or a tab inside an argument is written `\\n` or `\\t`',
  })
}

interface Read {
  readonly address: Address
  readonly end: number
}

/** Reads from `start` up to `!!` or the end of the text. */
function readSingle(text: string, start: number): Read {
  const { host, from } = readHost(text, start)
  const head = piece(text, from, [':', ',', '!!'])
  const { keyword, args, end: headEnd } = readHead(text, from, head)
  let end = headEnd
  const options: Option[] = []
  while (text[end] === ',') {
    const at = end + 1
    const name = piece(text, at, [',', '=', ':', '!!'])
    if (text[name.end] === '=') {
      const value = piece(text, name.end + 1, [',', '!!'])
      options.push({ name: optionName(text, at, name.text), value: value.text, at: at - start })
      end = value.end
    } else {
      // Socat lets an empty option pass: `fork,` and `a,,b`.
      if (name.text !== '') options.push({ name: optionName(text, at, name.text), at: at - start })
      end = name.end
    }
    if (text[end] === ':') {
      throw addressError(text, end, {
        why: 'arguments stand before the first option',
        fix: `Move \`:\` and what follows in front of the first comma, or write \`${name.text}=\` for a value`,
      })
    }
  }
  const address = {
    keyword,
    args,
    options,
    text: text.slice(start, end),
    ...(host === undefined ? {} : { host }),
  }
  return { address, end }
}

/** The agent's name of `@AGENT/`, if there is one. */
function readHost(text: string, start: number): { host?: string; from: number } {
  if (text[start] !== '@') return { from: start }
  const slash = text.indexOf('/', start)
  const host = text.slice(start + 1, slash < 0 ? undefined : slash)
  if (slash < 0 || !/^[a-z0-9][a-z0-9._-]{0,62}$/i.test(host)) {
    throw addressError(text, start, {
      why: '`@` names an agent and an address there',
      fix: 'Write `@AGENT/ADDRESS`, e.g. `@db-1/TCP4:127.0.0.1:5432`',
    })
  }
  if (text[slash + 1] === '@') {
    throw addressError(text, slash + 1, {
      why: 'an address is placed on one agent',
      fix: 'Write one `@AGENT/`: every agent reaches every other directly',
    })
  }
  return { host: host.toLowerCase(), from: slash + 1 }
}

/** The keyword and its arguments, or what socat lets one write instead: `-`, a path, a descriptor's number. */
function readHead(text: string, from: number, head: { text: string; end: number }) {
  if (head.text.includes('/')) {
    // A path may hold colons, as those of /dev/serial/by-path do.
    const path = piece(text, from, [',', '!!'])
    return { keyword: 'GOPEN', args: [path.text], end: path.end }
  }
  const args: string[] = /^\d{1,9}$/.test(head.text) ? [head.text] : []
  const keyword = head.text === '-' ? 'STDIO' : args.length > 0 ? 'FD' : head.text
  if (!/^[a-z][a-z0-9_-]*$/i.test(keyword) || keyword.length > 40) throw notAKeyword(text, from, head.text)
  let end = head.end
  while (text[end] === ':') {
    const arg = piece(text, end + 1, [':', ',', '!!'])
    args.push(arg.text)
    end = arg.end
  }
  return { keyword: keyword.toUpperCase(), args, end }
}

function notAKeyword(text: string, at: number, word: string): RelayError {
  const form = 'Write `KEYWORD:argument,option=value`, e.g. `TCP:example.com:80,connect-timeout=5`'
  if (word === '') return addressError(text, at, { why: 'a keyword is missing', fix: form })
  const hostAndPort = /^([\w.-]+|\[[^\]]*\]):(\w+)/.exec(text.slice(at))?.[0]
  const fix = hostAndPort && /[.[]/.test(word) ? `Write \`TCP:${hostAndPort}\` for a TCP connection` : form
  return addressError(text, at, { why: `\`${shown(word)}\` is no keyword`, fix })
}

function optionName(text: string, at: number, name: string): string {
  if (/^[a-z0-9][a-z0-9_.-]*$/i.test(name) && name.length <= 60) return name.toLowerCase()
  const trimmed = name.trim()
  const fix = trimmed !== name && trimmed !== '' ? 'Remove the space' : 'Write `,name` or `,name=value`'
  throw addressError(text, at, { why: `\`${shown(name)}\` is no option`, fix })
}

function piece(text: string, from: number, stops: readonly Stop[]): { text: string; end: number } {
  const token = readToken(text, from, stops)
  if ('text' in token) return token
  throw addressError(text, token.at, token)
}

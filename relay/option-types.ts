import { shown } from './address.ts'
import { type Cidr, canonicalIp, parseCidr } from './ip.ts'
import type { OptionSpec, Reading } from './options.ts'

/** What every option says of itself. */
export interface Help {
  readonly summary: string
  readonly aliases?: readonly string[]
}

const spec = <T>(
  name: string,
  { summary, aliases = [] }: Help,
  syntax: string,
  read: (text: string | undefined) => Reading<T>,
): OptionSpec<T> => ({ name, aliases, syntax, summary, read })

/** An option whose value must be there. */
export const valued = <T>(
  name: string,
  help: Help,
  syntax: string,
  example: string,
  read: (text: string) => Reading<T>,
) =>
  spec(name, help, syntax, text =>
    text === undefined || text === ''
      ? { problem: 'it needs a value', write: `e.g. \`${name}=${example}\`` }
      : read(text),
  )

/** On when it is written, as in socat; `=0` and `=1` are accepted too. */
export function flag(name: string, help: Help): OptionSpec<boolean> {
  return spec<boolean>(name, help, '', text => {
    if (text === undefined || text === '1') return { value: true }
    if (text === '0') return { value: false }
    return { problem: 'it is a flag', write: `\`${name}\`, \`${name}=1\` or \`${name}=0\`` }
  })
}

/** A flag for what is always so here: writing it is fine, and switching it off is refused with the reason. */
export function always(name: string, help: Help & { readonly because: string }): OptionSpec<true> {
  const read = (text: string | undefined): Reading<true> => {
    if (text === undefined || text === '1') return { value: true }
    return { problem: text === '0' ? help.because : 'it is a flag', write: `\`${name}\`, or leave it out` }
  }
  return { ...spec<true>(name, help, '', read), always: true }
}

export function integer(
  name: string,
  help: Help & { readonly min: number; readonly max: number; readonly example?: number },
): OptionSpec<number> {
  const { min, max } = help
  const example = String(help.example ?? Math.max(min, Math.min(max, 16)))
  return valued<number>(name, help, '<n>', example, text => {
    const value = /^\d{1,15}$/.test(text)
      ? Number(text)
      : /^0x[0-9a-f]{1,12}$/i.test(text)
        ? Number(text)
        : Number.NaN
    if (value >= min && value <= max) return { value }
    return {
      problem: `it must be a whole number from ${min} to ${max}`,
      write: `e.g. \`${name}=${example}\``,
    }
  })
}

/** In milliseconds. As in socat a bare number counts seconds; `500ms`, `5s`, `2m`, `1h` and `1d` are accepted too. */
export function duration(
  name: string,
  help: Help & { readonly min?: number; readonly max?: number; readonly wholeSeconds?: boolean },
): OptionSpec<number> {
  const write = `seconds, e.g. \`${name}=5\`, or \`${name}=2m\``
  return valued<number>(name, help, '<seconds>', '5', text => {
    const [, digits, unit = 's'] = /^(\d{1,12}(?:\.\d{0,6})?|\.\d{1,6})(ms|s|m|h|d)?$/i.exec(text) ?? []
    if (digits === undefined) return { problem: 'it is not a duration', write }
    const value = Math.round(Number(digits) * milliseconds[unit.toLowerCase()]!)
    if (value > (help.max ?? longest)) {
      return { problem: `it is longer than ${help.max ? `${help.max / 1_000} s` : 'ten years'}`, write }
    }
    if (value < (help.min ?? 0)) return { problem: `it is shorter than ${help.min} ms`, write }
    if (help.wholeSeconds && value % 1_000 !== 0)
      return { problem: 'the kernel counts it in whole seconds', write }
    return { value }
  })
}

const milliseconds: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const longest = 10 * 366 * 86_400_000

const bytes: Readonly<Record<string, number>> = { '': 1, k: 1_024, m: 1_048_576, g: 2 ** 30 }

/** A number of bytes, with `k`, `m` or `g` for 1,024 of them, and so on. */
export function size(name: string, summary: string, example: string, max: number): OptionSpec<number> {
  return valued<number>(name, { summary }, '<bytes>', example, text => {
    const [, digits, unit = ''] = /^(\d{1,12})([kmg]?)$/i.exec(text) ?? []
    const value = digits === undefined ? Number.NaN : Number(digits) * bytes[unit.toLowerCase()]!
    if (value >= 1 && value <= max) return { value }
    return { problem: `it is no number of bytes up to ${max}`, write: `e.g. \`${name}=${example}\`` }
  })
}

/** Permission bits as `chmod` takes them, in octal. */
export function fileMode(name: string, help: Help): OptionSpec<number> {
  return valued<number>(name, help, '<octal>', '660', text =>
    /^0?[0-7]{1,4}$/.test(text)
      ? { value: Number.parseInt(text, 8) }
      : { problem: 'it is no octal file mode', write: `e.g. \`${name}=660\`` },
  )
}

/** A user or a group, by name or by number; whether there is one is known on the host that opens the address. */
export function account(name: string, help: Help): OptionSpec<string> {
  return valued<string>(name, help, '<name>', '1000', text =>
    /^([a-z_][a-z0-9_.-]{0,63}\$?|\d{1,10})$/i.test(text)
      ? { value: text }
      : { problem: 'it is neither a name nor a number', write: `e.g. \`${name}=1000\`` },
  )
}

/** Networks, one or several: `10.0.0.0/8`, or `(10.0.0.0/8,192.168.0.0/16)` and `10.0.0.0/8;192.168.0.0/16`. */
export function networks(name: string, help: Help): OptionSpec<readonly Cidr[]> {
  return valued<readonly Cidr[]>(name, help, '<cidr>[;<cidr>]…', '10.0.0.0/8', text => {
    const inner = /^\((.*)\)$/.exec(text)?.[1] ?? text
    const cidrs: Cidr[] = []
    for (const part of inner.split(/[;,\s]+/)) {
      try {
        cidrs.push(parseCidr(part))
      } catch (refusal) {
        const { why, fix } = refusal as { why: string; fix: string }
        return { problem: `\`${shown(part)}\`: ${why}`, write: fix.replace(/^Write /, '') }
      }
    }
    return { value: cidrs }
  })
}

/** An IP (canonical, without brackets) or a host name. */
export function host(name: string, help: Help): OptionSpec<string> {
  return valued<string>(name, help, '<host>', '127.0.0.1', text => {
    const value = readHost(text)
    if (value !== undefined) return { value }
    return {
      problem: 'it is neither an IP address nor a host name',
      write: `e.g. \`${name}=127.0.0.1\` or \`${name}=[::1]\``,
    }
  })
}

/** A host as it is dialled or bound: an IP in its canonical form, or a host name in lower case; undefined if neither. */
export function readHost(text: string): string | undefined {
  const ip = canonicalIp(text)
  const zone = /%[0-9a-z._-]{1,32}(?=\]?$)/i.exec(text)?.[0] ?? ''
  if (ip !== undefined) return ip.includes(':') ? ip + zone : ip
  const isName =
    /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*\.?$/i
  const looksLikeIp = /^[\d.]+$|^0x[0-9a-f.]*$/i
  return isName.test(text) && !looksLikeIp.test(text) ? text.toLowerCase() : undefined
}

/** The IP version that socat's `pf` names. */
export function family(name: string, help: Help): OptionSpec<4 | 6> {
  const names: Record<string, 4 | 6> = {
    ip4: 4,
    ipv4: 4,
    inet: 4,
    inet4: 4,
    ip6: 6,
    ipv6: 6,
    inet6: 6,
    2: 4,
    10: 6,
  }
  return valued<4 | 6>(name, help, '<family>', 'ip4', text => {
    const value = names[text.toLowerCase()]
    return value
      ? { value }
      : { problem: 'it names no IP version', write: `\`${name}=ip4\` or \`${name}=ip6\`` }
  })
}

/** An option of socat's that cannot be had here; `because` says why, and what to write instead. */
export function refused(name: string, help: Help & { readonly because: string }): OptionSpec<never> {
  const { because } = help
  return {
    ...spec<never>(name, help, '', () => ({ problem: because, write: 'the address without it' })),
    unsupported: because,
  }
}

import { type Address, formatAddress } from '#relay/address.ts'
import { groupsOf, kindOf } from '#relay/endpoints/index.ts'

/** Options about how fast and how well, never about who may come in, what is believed, or whose rights are used. */
const harmless: ReadonlySet<string> = new Set(['socket', 'stream', 'termios', 'udp'])

/** The address without the options that cannot be had here and that nobody's safety hangs on. Each is told of. */
export function withoutUnsupported(address: Address, dropped: (reason: string) => void): Address {
  const kind = kindOf(address.keyword)
  const specs = (kind ? groupsOf(kind) : [])
    .filter(({ name }) => harmless.has(name))
    .flatMap(({ options }) => Object.values(options))
  const options = address.options.filter(({ name }) => {
    const spec = specs.find(({ name: proper, aliases }) => proper === name || aliases.includes(name))
    if (spec?.unsupported === undefined) return true
    dropped(`option \`${name}\` of ${address.keyword} is left out: ${spec.unsupported}`)
    return false
  })
  const left = { ...address, options }
  return { ...left, text: formatAddress(left) }
}

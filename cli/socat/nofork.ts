import { type Address, formatAddress } from '#relay/address.ts'
import { kindOf } from '#relay/endpoints/index.ts'

const programs: ReadonlySet<string | undefined> = new Set(['EXEC', 'SYSTEM', 'SHELL'])

/**
 * With `nofork` socat becomes the program, which saves a process and changes nothing that passes. Here the relay stays
 * beside it, which is told of.
 */
export function withoutNofork(address: Address, told: (reason: string) => void): Address {
  const options = address.options.filter(({ name }) => name !== 'nofork')
  const isProgram = programs.has(kindOf(address.keyword)?.keyword)
  if (!isProgram || options.length === address.options.length) return address
  told(`option \`nofork\` of ${address.keyword}: the program runs beside this process, not in its place`)
  const left = { ...address, options }
  return { ...left, text: formatAddress(left) }
}

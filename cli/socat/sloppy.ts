import { type Address, formatAddress } from '#relay/address.ts'
import { bindAddress } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'

/** The address without the options that are known and cannot be had here. Each is told of. */
export function withoutUnsupported(address: Address, dropped: (reason: string) => void): Address {
  const options = address.options.filter(option => {
    try {
      bindAddress({ ...address, options: [option] })
    } catch (error) {
      if (!(error instanceof RelayError) || error.code !== 'unsupported') return true
      if (!error.why.includes(option.name)) return true
      dropped(error.message)
      return false
    }
    return true
  })
  const left = { ...address, options }
  return { ...left, text: formatAddress(left) }
}

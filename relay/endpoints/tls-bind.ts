import type { Address } from '../address.ts'
import type { OptionValues } from '../options.ts'
import { wrongAddress } from './ip-parts.ts'
import { type AutoOptions, auto, checkAuto } from './tls-auto.ts'
import type { tlsOptions } from './tls-options.ts'

export type TlsOptionValues = OptionValues<readonly [typeof tlsOptions]> & Pick<AutoOptions, 'certNames'>

/** Refuses options that contradict each other. */
export function checkTlsOptions(address: Address, options: TlsOptionValues, side: 'client' | 'server'): void {
  const {
    cert,
    key,
    cafile,
    verify = true,
    commonName,
    identity,
    fingerprint,
    minVersion,
    maxVersion,
  } = options
  checkAuto(address, options)
  if (key !== undefined && cert === undefined) {
    throw wrongAddress(address, '`key` has no certificate', 'Write `cert=` with the file of its certificate')
  }
  if (!verify) {
    const idle = { cafile, identity, ...(side === 'server' && { commonname: commonName }) }
    for (const [name, value] of Object.entries(idle)) {
      if (value === undefined) continue
      const why = `\`${name}\` says whom to trust, and \`verify=0\` to trust anybody`
      throw wrongAddress(address, why, 'Keep one of them')
    }
  }
  if (minVersion === 'TLSv1.3' && maxVersion === 'TLSv1.2') {
    throw wrongAddress(address, 'the oldest TLS version is newer than the newest', 'Swap them')
  }
  if (side === 'client') return
  if (cert === undefined) {
    throw wrongAddress(
      address,
      'a TLS server needs a certificate',
      'Write `cert=FILE,key=FILE`, or `cert=FILE` with both in it, or `cert=auto` for one of the fleet',
    )
  }
  if (verify && cafile === undefined && cert !== auto) {
    const pins = fingerprint
      ? ', or `verify=0` to go by `fingerprint` alone'
      : ', or `verify=0` to let in anybody'
    throw wrongAddress(
      address,
      'it asks clients for a certificate and does not say whose to trust',
      `Write \`cafile=FILE\` with the authority of the clients${pins}`,
    )
  }
}

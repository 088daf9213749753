import { type Address, formatAddress, type Option } from '../address.ts'

/** A port as the ceiling sees it, which may let it be watched and not written. Also its name in errors. */
export function portScope(
  path: string,
  { host, watch }: { readonly host?: string | undefined; readonly watch?: boolean | undefined } = {},
): Address {
  const options: Option[] = watch ? [{ name: 'watch', at: 0 }] : []
  const scope = { keyword: 'SERIAL', args: [path], options }
  return { ...scope, text: formatAddress({ ...scope, options: [] }), ...(host !== undefined && { host }) }
}

import { type Address, formatAddress } from '../address.ts'
import type { Dialer, EndpointKind } from '../endpoint.ts'
import { readPath } from '../files/path.ts'
import { flag } from '../option-types.ts'
import { type OptionGroup, readOptions } from '../options.ts'

const receiveOptions = {
  name: 'receive',
  options: {
    exact: flag('exact', {
      summary:
        'the path is that of the copy itself, also where a directory has it already: the copy goes into it',
    }),
    resume: flag('resume', {
      summary:
        'leave what is complete as it is, and keep what has come when it breaks off, to go on from there',
    }),
    dryRun: flag('dry-run', { summary: 'only say what there is already; write nothing' }),
    specialBits: flag('special-bits', {
      summary: 'keep setuid, setgid and sticky bits, which are dropped otherwise',
    }),
  },
} as const satisfies OptionGroup

/**
 * The two sides of a copy, which speak to each other: what comes out of one goes into the other. Whoever joins them needs to
 * know nothing of what they say.
 */
export const copyKinds: readonly EndpointKind[] = [
  {
    keyword: 'SEND',
    aliases: [],
    syntax: 'SEND:<path>',
    summary: 'a copy of a file or a directory, for RECEIVE; the far side of `fleetcat cp`',
    groups: [],
    role: 'target',
    bind(address) {
      readOptions(address, [])
      const scope = scopeOf(address, 'SEND', [])
      // What copies is not loaded by whoever only reads the table.
      const dialer: Dialer = {
        dial: async cx => (await import('../copy/endpoints.ts')).dialSend(scope, cx),
      }
      return { address, scope, dialer }
    },
  },
  {
    keyword: 'RECEIVE',
    aliases: [],
    syntax: 'RECEIVE:<path>',
    summary: 'takes a copy in from SEND: checked, and under its name only when it is complete',
    groups: [receiveOptions],
    role: 'target',
    ruled: ['special-bits'],
    bind(address) {
      const options = readOptions(address, [receiveOptions])
      const ruled = options.specialBits ? [{ name: 'special-bits', at: 0 }] : []
      const scope = scopeOf(address, 'RECEIVE', ruled)
      const dialer: Dialer = {
        dial: async cx => (await import('../copy/endpoints.ts')).dialReceive(scope, options, cx),
      }
      return { address, scope, dialer }
    },
  },
]

function scopeOf(address: Address, keyword: string, options: Address['options']): Address {
  const named = { keyword, args: [readPath(address, `${keyword}:<path>`)], options }
  const at = address.host === undefined ? {} : { host: address.host }
  return { ...named, ...at, text: formatAddress({ ...named, options: [] }) }
}

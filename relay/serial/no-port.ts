import type { SerialControl } from './control.ts'
import type { LineSettings } from './port.ts'

/**
 * The line of a far side that has none: a TCP server, a program. It is set as anybody likes, for its bytes do not mind,
 * and has no wires.
 */
export function noPort(path: string): SerialControl {
  let settings: Required<LineSettings> = { baud: 9_600, data: 8, parity: 'none', stop: 1, flow: 'none' }
  return {
    path,
    get settings() {
      return settings
    },
    async set(wanted) {
      settings = { ...settings, ...wanted }
      return settings
    },
    setControl: async () => false,
    modem: async () => undefined,
    onModem: () => () => {},
    setBreak: async () => false,
    purge: async () => {},
    counters: async () => undefined,
  }
}

import type { SerialControl } from './control.ts'
import { modemWatch } from './modem-watch.ts'
import { absentWires, type LineSettings, type ModemLines } from './port.ts'
import type { SharedView } from './shared-port.ts'

/** How a device is that has not been seen yet. */
const unseen: Required<LineSettings> = { baud: 9_600, data: 8, parity: 'none', stop: 1, flow: 'none' }

/** The line of a shared port, as one of those who share it has it: who only watches sees it, and changes nothing. */
export function viewControl(view: SharedView, path: string): SerialControl {
  let settings = unseen
  /** Of one that is still to come nobody knows whether it has any: it has to be asked again. */
  let wires: ModemLines | undefined = absentWires
  const look = async () => {
    // What has gone for a while is as it was.
    if (view.seen) wires = await view.seen.modem()
    return wires
  }
  return {
    path,
    givesBack: true,
    get settings() {
      settings = view.seen?.settings ?? settings
      return settings
    },
    async set(wanted) {
      if (view.port) await view.set(wanted)
      return this.settings
    },
    setControl: async lines => (await view.port?.setControl(lines)) ?? false,
    control: async () => await view.seen?.control?.(),
    modem: look,
    onModem: modemWatch(look).on,
    setBreak: async on => (await view.port?.setBreak(on)) ?? false,
    async purge(which) {
      await view.port?.purge(which)
    },
    counters: async () => await view.seen?.counters(),
  }
}

import { RelayError } from '../errors.ts'

/** What is used of a port that the serialport package has open. */
export interface Binding {
  readonly fd: number
  readonly poller: {
    /** Called once, with an error too, when the device has gone or the port is closed. */
    once(event: 'disconnect', call: (error: (Error & { canceled?: boolean }) | null) => void): void
  }
  /** In a thread. */
  close(): Promise<void>
}

export interface BindingOptions {
  readonly path: string
  readonly baudRate: number
}

/**
 * Opens with the serialport package, in a thread, and leaves everything but the speed to be set later: of a line it knows
 * too little (see docs/decisions/0020-serial-ports.md). Rejects with the package's error.
 */
export async function openBinding({ path, baudRate }: BindingOptions, what: string): Promise<Binding> {
  const { LinuxBinding } = await import('@serialport/bindings-cpp').catch((error: Error) => {
    const why = `the serialport package cannot be loaded: ${error.message.split('\n')[0]}`
    throw new RelayError('unsupported', { what, why, fix: 'Install the dependencies of fleetcat again' })
  })
  const binding = await LinuxBinding.open({ path, baudRate, lock: false, hupcl: false })
  return binding as unknown as Binding
}

import type { SerialPort } from './port.ts'

/**
 * The line of a channel, beside its bytes: what a serial port can do but for them. Whoever has the channel has it, and
 * it does nothing any more once the channel is closed.
 */
export type SerialControl = Omit<SerialPort, 'stream' | typeof Symbol.asyncDispose>

/** Something about a target that is no matter of one connection, and that those who run the fleet want to hear of. */
export interface Remark {
  readonly event: 'serial.alert' | 'serial.taken-over'
  /** What it is about: `SERIAL:/dev/ttyUSB0`. */
  readonly subject: string
  /** Some of it may be the words of a device. */
  readonly text: string
  /** Whose doing it is, if it is anybody's of this relay. */
  readonly connectionId?: string
}

import type { Endpoint } from './endpoint.ts'

/** `forward`: from the client to the target. */
export type Direction = 'forward' | 'backward'

/** What a relay does with the bytes on their way. Nothing of it costs anything where it is not asked for. */
export interface FlowSettings {
  /**
   * Only this way. What comes the other way is read and dropped, for only a reader notices that its peer has gone; it
   * counts as no traffic. The end of the one way is the end of the connection, as with socat's `-u` and `-U`.
   */
  readonly unidirectional?: Direction
  /** Each line that goes to the target, or each datagram, follows the time: RFC 3339 with milliseconds, and a space. */
  readonly timestamp?: boolean
  /** For each direction of each connection by itself. */
  readonly throttleBytesPerSecond?: number
  /**
   * Each is opened for each connection and gets a copy of what goes to the target. One that is slow loses, which is
   * counted as `tee-dropped`; one that fails is told of as a failure, and neither harms the connection.
   */
  readonly tee?: readonly Endpoint[]
  readonly dump?: DumpSettings
}

/** What has gone either way, for people to read: as socat's `-x`, its `-v`, or both of them have it. */
export interface DumpSettings {
  readonly format: DumpFormat
  /** Without a file only those who watch the running relay see it. */
  readonly file?: DumpFile
}

export type DumpFormat = 'hex' | 'text' | 'both'

export interface DumpFile {
  readonly path: string
  /** A file that would grow beyond this is renamed, and a new one begun. 64 MiB if absent. */
  readonly maxBytes?: number
  /** How many files that are full already are kept beside the newest: `PATH.1`, `PATH.2`, … Five if absent. */
  readonly keep?: number
}

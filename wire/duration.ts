import type { Duration } from '#gen/google/protobuf/duration.ts'

export function toDuration(ms: number): Duration {
  let seconds = Math.trunc(ms / 1000)
  let nanos = Math.round((ms - seconds * 1000) * 1e6)
  // Rounding may fill the second.
  if (Math.abs(nanos) === 1e9) {
    seconds += Math.sign(nanos)
    nanos = 0
  }
  return { seconds: BigInt(seconds), nanos }
}

export function toMilliseconds(duration: Duration): number {
  return Number(duration.seconds) * 1000 + duration.nanos / 1e6
}

/** Absent and zero both mean "no limit" on the wire. */
export function limitMs(duration: Duration | undefined): number | undefined {
  const ms = duration ? toMilliseconds(duration) : 0
  return ms > 0 ? ms : undefined
}

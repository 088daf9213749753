import type { Duration } from '#gen/google/protobuf/duration.ts'
import { limitMs } from './duration.ts'

/** How long an agent may run a relay without a word from the controller: unless it says otherwise, at least, at most. */
export const defaultLeaseMs = 60_000
export const shortestLeaseMs = 5_000
export const longestLeaseMs = 86_400_000

/** What a relay says of its lease, or the default. */
export function leaseMs({ lease }: { readonly lease: Duration | undefined }): number {
  return limitMs(lease) ?? defaultLeaseMs
}

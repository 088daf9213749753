import { hostname } from 'node:os'
import type { Carried, Figures, RoundTrips } from '#relay/measuring.ts'
import type { BenchHosts } from '../benching.ts'
import { sections } from '../output/sections.ts'
import { bytes } from '../output/time.ts'

export interface CarriedItem extends Carried {
  readonly bytesPerSecond: number
}

export interface BenchItem {
  readonly kind: 'Bench'
  /** `agent/edge-1`, or the name of this host. */
  readonly from: string
  readonly to: string
  readonly sent: CarriedItem
  readonly received: CarriedItem
  readonly roundTrips: RoundTrips
}

export function benchItem({ from, to }: BenchHosts, { sent, received, roundTrips }: Figures): BenchItem {
  return {
    kind: 'Bench',
    from: from === undefined ? hostname() : `agent/${from}`,
    to: `agent/${to}`,
    sent: carriedItem(sent),
    received: carriedItem(received),
    roundTrips,
  }
}

const carriedItem = ({ bytes, ms }: Carried): CarriedItem => ({
  bytes,
  ms,
  bytesPerSecond: Math.round((bytes / ms) * 1_000),
})

export function describeBench({ from, to, sent, received, roundTrips }: BenchItem): string {
  const carried = ({ bytes: n, ms, bytesPerSecond }: CarriedItem) =>
    `${(bytesPerSecond / 1e6).toFixed(0)} MB/s (${bytes(n)} in ${number(ms)})`
  const { count, minMs, medianMs, p99Ms } = roundTrips
  const times = [`${number(minMs)} at least`, `${number(medianMs)} median`, `${number(p99Ms)} p99`]
  return sections([
    {
      fields: [
        ['From', from],
        ['To', to],
        ['There', carried(sent)],
        ['Back', carried(received)],
        ['Round trip', `${times.join(', ')} (${count} of them)`],
      ],
    },
  ])
}

const number = (ms: number) => `${ms.toFixed(ms < 10 ? 2 : 0)} ms`

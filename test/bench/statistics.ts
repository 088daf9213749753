/** The value below which the share `p` of the samples lies, by nearest rank. */
export function percentile(samples: readonly number[], p: number): number {
  const sorted = [...samples].sort((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(p * sorted.length) - 1)] ?? Number.NaN
}

export const median = (samples: readonly number[]): number => percentile(samples, 0.5)

export interface Spread {
  readonly p50: number
  readonly p99: number
  readonly max: number
}

export const spread = (samples: readonly number[]): Spread => ({
  p50: median(samples),
  p99: percentile(samples, 0.99),
  max: percentile(samples, 1),
})

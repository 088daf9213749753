/** How long ago or how long still, in the two largest units: `42s`, `3m12s`, `2h5m`, `4d3h`. */
export function span(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000))
  const units: [string, number][] = [
    ['d', 86_400],
    ['h', 3_600],
    ['m', 60],
    ['s', 1],
  ]
  const first = units.findIndex(([, size]) => seconds >= size)
  if (first < 0) return '0s'
  let left = seconds
  return units
    .slice(first, first + 2)
    .map(([name, size], i) => {
      const n = Math.floor(left / size)
      left -= n * size
      return n === 0 && i > 0 ? '' : `${n}${name}`
    })
    .join('')
}

export const since = (time: string | null, now: number): string => (time ? span(now - Date.parse(time)) : '')

/** What is left until `time`; `expired` once it is past. */
export function until(time: string | null, now: number): string {
  if (!time) return ''
  const left = Date.parse(time) - now
  return left > 0 ? span(left) : 'expired'
}

/** 1024-based, as the kernel's own tools count: `0`, `512`, `1.5K`, `12M`. */
export function bytes(n: number): string {
  let value = n
  for (const unit of ['', 'K', 'M', 'G', 'T']) {
    if (value < 1024 || unit === 'T') {
      return unit === '' || value >= 10 ? `${Math.floor(value)}${unit}` : `${value.toFixed(1)}${unit}`
    }
    value /= 1024
  }
  return String(n)
}

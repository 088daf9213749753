import type { LineCounters, LineSettings } from '#relay/serial/port.ts'

const parities = { none: 'N', even: 'E', odd: 'O', mark: 'M', space: 'S' } as const

/** `115200 8N1`, and the flow control if there is any. */
export function inWords({ baud, data, parity, stop, flow }: Required<LineSettings>): string {
  return `${baud} ${data}${parities[parity]}${stop}${flow === 'none' ? '' : ` ${flow}`}`
}

const errors = { frame: 'framing', parity: 'parity', overrun: 'overrun', breaks: 'breaks' } as const

/** `3 framing, 1 overrun`; empty where there were none. */
export function errorsInWords(counts: LineCounters): string {
  const names = Object.keys(errors) as (keyof LineCounters)[]
  return names
    .filter(name => counts[name] > 0)
    .map(name => `${counts[name]} ${errors[name]}`)
    .join(', ')
}

import type { LineSettings } from '#relay/serial/port.ts'

const parities = { none: 'N', even: 'E', odd: 'O', mark: 'M', space: 'S' } as const

/** `115200 8N1`, and the flow control if there is any. */
export function inWords({ baud, data, parity, stop, flow }: Required<LineSettings>): string {
  return `${baud} ${data}${parities[parity]}${stop}${flow === 'none' ? '' : ` ${flow}`}`
}

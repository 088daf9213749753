import { fastestBaud } from '#relay/serial/line-settings.ts'
import { usage } from '../failure.ts'

/** Throws a RelayError `usage` for what no line can have. */
export function baudOf(text: string): number {
  const baud = Number(text)
  if (/^\d+$/.test(text) && baud >= 1 && baud <= fastestBaud) return baud
  throw usage(
    `--baud ${text}`,
    'no line can have so many bits a second',
    `Write a whole number up to ${fastestBaud}, e.g. 115200`,
  )
}

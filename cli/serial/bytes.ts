import { size } from '#relay/option-types.ts'
import { usage } from '../failure.ts'

/** Reads the value of an option that an address takes too: `8k`. The text is kept. */
export const bytesOf =
  (option: string, example: string, max: number) =>
  (text: string): string => {
    const reading = size(option, '', example, max).read(text)
    if ('value' in reading) return text
    throw usage(`${option} ${text}`, reading.problem, `Write for example ${example}`)
  }

import { type ErrorCode, errorCodes, RelayError } from './errors.ts'
import type { Figures, Progress } from './measuring.ts'

/** What a host says of a measurement while it makes it, a line of JSON each; the last one is no `progress`. */
export type MeasuredLine =
  | { readonly progress: Progress }
  | { readonly figures: Figures }
  | { readonly problem: { readonly code: ErrorCode; what: string; why?: string; fix?: string } }

export const measuredLine = (line: MeasuredLine): string => `${JSON.stringify(line)}\n`

export function problemOf({ code, what, why, fix }: RelayError): MeasuredLine {
  return { problem: { code, what, ...(why && { why }), ...(fix && { fix }) } }
}

/** Reads the lines until the figures come. Rejects with the problem, or with a RelayError when the lines end before. */
export async function readMeasured(
  pieces: AsyncIterable<Buffer>,
  what: string,
  tell: (progress: Progress) => void,
): Promise<Figures> {
  let rest = ''
  for await (const piece of pieces) {
    const lines = (rest + piece.toString('latin1')).split('\n')
    rest = lines.pop()!
    if (rest.length > mostLine) break
    for (const text of lines) {
      const line = parse(text, what)
      if ('figures' in line) return line.figures
      if ('progress' in line) tell(line.progress)
      else throw new RelayError(codeOf(line.problem.code), line.problem)
    }
  }
  throw new RelayError('reset', { what, why: 'it ended before its figures came' })
}

const mostLine = 16_384

/** A newer host may know more codes. */
const codeOf = (code: ErrorCode): ErrorCode => errorCodes.find(each => each === code) ?? 'internal'

function parse(text: string, what: string): MeasuredLine {
  try {
    const line = JSON.parse(text)
    const isLine = line?.figures?.roundTrips || typeof line?.progress?.share === 'number'
    if (isLine || typeof line?.problem?.what === 'string') return line
  } catch {}
  throw new RelayError('reset', { what, why: 'what the host says is no measurement' })
}

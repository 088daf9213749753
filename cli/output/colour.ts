import type { WriteStream } from 'node:tty'

export type Colour = 'red' | 'green' | 'yellow' | 'grey' | 'bold'

const codes: Record<Colour, string> = { red: '31', green: '32', yellow: '33', grey: '90', bold: '1' }

export type Paint = (text: string, colour: Colour | undefined) => string

/** Colours on a terminal only, and never when NO_COLOR is set. */
export function painter(stream: Pick<WriteStream, 'isTTY'>): Paint {
  const plain = !stream.isTTY || Boolean(process.env.NO_COLOR) || process.env.TERM === 'dumb'
  return (text, colour) => (plain || !colour ? text : `\u001b[${codes[colour]}m${text}\u001b[0m`)
}

/** One meaning a colour, wherever a state is shown. */
export function colourOfState(state: string): Colour | undefined {
  if (state === 'ready' || state === 'cut' || state === 'done' || state === 'up') return 'green'
  if (
    state === 'rejected' ||
    state === 'refused' ||
    state === 'revoked' ||
    state === 'expired' ||
    state === 'down'
  )
    return 'red'
  if (state === 'pending' || state === 'lapsed' || state === 'fenced' || state.startsWith('unreachable'))
    return 'yellow'
  return undefined
}

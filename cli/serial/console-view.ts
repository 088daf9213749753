import type { Direction } from '#relay/flow-settings.ts'
import { formatDump } from '#relay/layers/dump-format.ts'
import { type ShownEnd, showEnds } from './newlines.ts'

/** What a person sees of the bytes that come and go. */
export interface ConsoleView {
  hex: boolean
  /** What is typed is shown, for devices that do not do so themselves. */
  echo: boolean
  received(bytes: Buffer): Buffer
  /** Empty where nothing of it is shown. */
  sent(bytes: Buffer): Buffer
}

const nothing = Buffer.alloc(0)

export function consoleView(options: {
  readonly hex: boolean
  readonly echo: boolean
  readonly newline: ShownEnd
}): ConsoleView {
  const asText = showEnds(options.newline)
  const asTyped = showEnds('cr')
  const counts = { forward: 0, backward: 0 }
  const dumped = (direction: Direction, bytes: Buffer) => {
    const entry = { direction, at: Date.now(), from: counts[direction], bytes }
    return Buffer.from(formatDump('both', entry).toString('latin1').replaceAll('\n', '\r\n'), 'latin1')
  }
  const view: ConsoleView = {
    hex: options.hex,
    echo: options.echo,
    received(bytes) {
      const shown = view.hex ? dumped('backward', bytes) : asText(bytes)
      counts.backward += bytes.length
      return shown
    },
    sent(bytes) {
      const shown = view.hex ? dumped('forward', bytes) : view.echo ? asTyped(bytes) : nothing
      counts.forward += bytes.length
      return shown
    },
  }
  return view
}

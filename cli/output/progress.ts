import { sanitise } from '#telemetry/sanitise.ts'

const clearLine = '\r\u001b[K'

/** One line on the terminal that says what is being waited for; nothing at all elsewhere. */
export function progress(): { say(text: string): void } & Disposable {
  let shown = false
  return {
    say(text) {
      if (!process.stderr.isTTY) return
      process.stderr.write(`${clearLine}${sanitise(text, 200)}`)
      shown = true
    },
    [Symbol.dispose]() {
      if (shown) process.stderr.write(clearLine)
    },
  }
}

import { print } from './print.ts'

const hold = '\u001b[?7l\u001b[?25l'
const release = '\u001b[?7h\u001b[?25h'

/** What is wider than the screen is cut at its edge: a wrapped line would push what is drawn again and again upwards. */
export function heldTerminal(): Disposable {
  // What is printed after us, an error above all, must find a terminal that wraps its lines.
  const restore = () => print(release)
  const ended = () => process.exit(143)
  print(hold)
  process.once('exit', restore).once('SIGTERM', ended)
  return {
    [Symbol.dispose]() {
      process.off('exit', restore).off('SIGTERM', ended)
      restore()
    },
  }
}

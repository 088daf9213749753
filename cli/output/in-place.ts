import { heldTerminal } from './held.ts'
import { print } from './print.ts'

/** Before a line, for behind one that ends at the edge it would take its last character. */
const clearLine = '\u001b[K'
const clearBelow = '\u001b[J'

/** Lines where the cursor stands, drawn over themselves. What was drawn last stays there after disposal. */
export interface InPlace extends Disposable {
  /** Of text that is no higher than the screen, less one line. */
  draw(text: string): void
  /** Draws for the last time: nothing is cut any more, neither at the edge nor below. */
  finish(text: string): void
}

export function inPlace(): InPlace {
  const terminal = heldTerminal()
  let height = 0
  // The screen may have become smaller, and nobody gets above its top.
  const back = () => {
    const lines = Math.min(height, (process.stdout.rows || 24) - 1)
    return lines > 0 ? `\r\u001b[${lines}A` : '\r'
  }
  return {
    draw(text) {
      const lines = text.split('\n').slice(0, -1)
      print(`${back()}${lines.map(line => `${clearLine}${line}\n`).join('')}${clearBelow}`)
      height = lines.length
    },
    finish(text) {
      print(`${back()}${clearBelow}`)
      terminal[Symbol.dispose]()
      print(text)
      height = 0
    },
    [Symbol.dispose]: () => terminal[Symbol.dispose](),
  }
}

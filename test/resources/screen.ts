/**
 * What a terminal of so many lines shows after this output: its lines, without colours and blanks at their ends. It
 * knows what our own programs write, and throws on everything else.
 */
export function screenOf(output: string, rows: number, columns = 200): string[] {
  const lines = Array.from({ length: rows }, () => '')
  let [y, x, wraps] = [0, 0, true]
  const down = () => {
    if (y < rows - 1) y++
    else lines.splice(0, rows, ...lines.slice(1), '')
  }
  const control: Record<string, (n: number, mode: string) => void> = {
    A: n => {
      y = Math.max(0, y - (n || 1))
    },
    G: n => {
      x = Math.max(1, n) - 1
    },
    H: () => {
      y = x = 0
    },
    J: n => {
      if (n === 2) lines.fill('')
      else lines.splice(y, rows, lines[y]!.slice(0, x), ...lines.slice(y + 1).map(() => ''))
    },
    K: () => {
      lines[y] = lines[y]!.slice(0, x)
    },
    h: (_, mode) => {
      if (mode === '?7') wraps = true
    },
    l: (_, mode) => {
      if (mode === '?7') wraps = false
    },
    m: () => {},
  }
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what terminals obey
  for (const [token, mode, name] of output.matchAll(/\u001b\[([?\d;]*)([A-Za-z])|[^\u001b]/gu)) {
    if (name !== undefined) {
      const act = control[name]
      if (!act) throw new Error(`the screen does not know ${JSON.stringify(token)}`)
      act(Number(mode) || 0, mode ?? '')
    } else if (token === '\n') down()
    else if (token === '\r') x = 0
    else {
      if (x >= columns && wraps) {
        x = 0
        down()
      }
      const at = Math.min(x, columns - 1)
      lines[y] = lines[y]!.padEnd(at).slice(0, at) + token + lines[y]!.slice(at + 1)
      x = at + 1
    }
  }
  return lines.map(line => line.trimEnd())
}

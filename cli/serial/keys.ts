/** What somebody typed: bytes for the port, or the letter of a command behind the escape character. */
export type Typed = { readonly send: Buffer } | { readonly command: string }

export interface Keys {
  /** Up to and with the first command: it may ask something, and then what is left is the answer. */
  read(bytes: Buffer): { readonly typed: readonly Typed[]; readonly rest: Buffer }
}

const newlines: ReadonlySet<number> = new Set([0x0a, 0x0d])

/**
 * Tells commands from what is typed for the port, as ssh does: the escape character counts at the beginning of a line
 * only, and twice it is itself. Commands are known by their letter; before another one it is what was typed.
 */
export function openKeys(sign: number | undefined, commands: ReadonlySet<string>): Keys {
  let atStart = true
  let isEscaped = false
  return {
    read(bytes) {
      const typed: Typed[] = []
      let pending: number[] = []
      const flush = () => {
        if (pending.length > 0) typed.push({ send: Buffer.from(pending) })
        pending = []
      }
      for (const [at, byte] of bytes.entries()) {
        if (isEscaped) {
          isEscaped = false
          const letter = String.fromCharCode(byte)
          if (commands.has(letter)) {
            flush()
            typed.push({ command: letter })
            atStart = true
            return { typed, rest: bytes.subarray(at + 1) }
          }
          pending.push(sign!)
          if (byte === sign) {
            atStart = false
            continue
          }
        } else if (atStart && byte === sign) {
          isEscaped = true
          continue
        }
        pending.push(byte)
        atStart = newlines.has(byte)
      }
      flush()
      return { typed, rest: bytes.subarray(bytes.length) }
    },
  }
}

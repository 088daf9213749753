import { sanitise } from '#telemetry/sanitise.ts'

/** The person at this terminal, or a script where there is none. */
export interface Terminal extends Disposable {
  /** There is a person: keys are read one by one. */
  readonly isInteractive: boolean
  /** Bytes of the device. Resolves when more can be shown. */
  show(bytes: Buffer): Promise<void>
  /** A word of fleetcat, on a line of its own, if there is any. */
  say(text: string): void
  /** From now on each key counts as soon as it is pressed. Before, Ctrl-C is what it is anywhere. */
  takeKeys(): void
  /** What was typed, until it ends. Nothing is read before. */
  read(typed: (bytes: Buffer) => Promise<void>): Promise<void>
  /** A line that is typed in answer to a question; undefined if it was given up with Escape or Ctrl-C. */
  ask(question: string): Promise<string | undefined>
  /** Takes from what was typed what answers a question, and gives back the rest. */
  answered(bytes: Buffer): Buffer
}

const newline = 0x0a
const bell = '\u0007'

/** The terminal is as it was after disposal, and Node sees to that too where the process ends in another way. */
export function openTerminal(): Terminal {
  const { stdin, stdout, stderr } = process
  const isInteractive = Boolean(stdin.isTTY)
  const isShown = Boolean(stdout.isTTY)
  let atStart = true
  let asking: { text: string; answer: (text: string | undefined) => void } | undefined

  const put = (text: string) => {
    stdout.write(text)
    atStart = text.endsWith('\n')
  }
  const answered = (bytes: Buffer): Buffer => {
    for (const [at, byte] of bytes.entries()) {
      if (!asking) return bytes.subarray(at)
      const { text, answer } = asking
      if (byte === 0x0d || byte === newline) {
        asking = undefined
        put('\r\n')
        answer(text)
      } else if (byte === 0x1b || byte === 0x03) {
        asking = undefined
        put('\r\n')
        answer(undefined)
        // An arrow key is an escape and more.
        return Buffer.alloc(0)
      } else if (byte === 0x7f || byte === 0x08) {
        if (text !== '') put('\b \b')
        asking.text = text.slice(0, -1)
      } else if (byte < 0x20 || byte > 0x7e) {
        put(bell)
      } else {
        const letter = String.fromCharCode(byte)
        asking.text += letter
        put(letter)
      }
    }
    return Buffer.alloc(0)
  }

  return {
    isInteractive,
    async show(bytes) {
      if (bytes.length === 0) return
      atStart = bytes.at(-1) === newline
      if (stdout.write(bytes)) return
      await new Promise<void>(resolve => stdout.once('drain', () => resolve()))
    },
    say(text) {
      if (text === '') return
      const line = `[fleetcat: ${sanitise(text, 4_096)}]`
      if (isShown) put(`${atStart ? '' : '\r\n'}${line}\r\n`)
      else stderr.write(`${line}\n`)
    },
    takeKeys() {
      if (isInteractive) stdin.setRawMode(true)
    },
    async read(typed) {
      for await (const bytes of stdin) {
        const rest = answered(bytes)
        if (rest.length > 0) await typed(rest)
      }
    },
    answered,
    ask(question) {
      put(`${atStart ? '' : '\r\n'}[fleetcat: ${question}] `)
      return new Promise(resolve => {
        asking = { text: '', answer: resolve }
      })
    },
    [Symbol.dispose]() {
      if (isInteractive) stdin.setRawMode(false)
      if (isShown && !atStart) stdout.write('\r\n')
      stdin.pause()
    },
  }
}

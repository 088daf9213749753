import { clearScreenDown, createInterface, cursorTo, moveCursor } from 'node:readline'
import { Duplex, Writable } from 'node:stream'
import { StringDecoder } from 'node:string_decoder'

export interface LineEditorOptions {
  /** Shown where the other side has shown none: its last incomplete line is the prompt otherwise. */
  readonly prompt?: string | undefined
  /** No prompt: an incomplete line of the other side gets an end, and editing begins in the first column. */
  readonly noprompt?: boolean | undefined
  /** What is typed at a prompt like this is neither shown nor remembered. */
  readonly noecho?: RegExp | undefined
  /** The newest first. Lines are added in place. */
  readonly history: string[]
}

export interface Terminal {
  readonly input: Duplex
  readonly output: Duplex & { readonly columns?: number }
}

const longestHistory = 1_000

/**
 * A person at a terminal as a stream: what it reads are lines that can be edited and repeated before they are sent; what
 * is written to it is shown above the line that is being typed. It owns the terminal's streams.
 */
export function lineEditor({ input, output }: Terminal, options: LineEditorOptions): Duplex {
  const { prompt = '', noprompt = false, noecho, history } = options
  const decoder = new StringDecoder('utf8')
  /** The last line that the other side has not ended. */
  let partial = ''
  let hidden = false

  const screen = Object.assign(
    new Writable({
      // At once: what is hidden is a matter of when it was written.
      write(chunk, _encoding, done) {
        if (!hidden && !output.destroyed) output.write(chunk)
        done()
      },
    }),
    { columns: output.columns },
  )
  const resized = () => {
    screen.columns = output.columns
    screen.emit('resize')
  }
  output.on('resize', resized)
  const editor = createInterface({
    input,
    output: screen,
    terminal: true,
    prompt,
    history,
    historySize: longestHistory,
  })

  const show = (text: string) => {
    hidden = false
    const { rows } = editor.getCursorPos()
    moveCursor(screen, 0, -rows)
    cursorTo(screen, 0)
    clearScreenDown(screen)
    const all = partial + text
    const ended = all.lastIndexOf('\n') + 1
    screen.write(all.slice(0, ended))
    partial = all.slice(ended).replace(/^.*\r(?!$)/s, '')
    if (noprompt && partial !== '') {
      screen.write(`${partial}\r\n`)
      editor.setPrompt('')
    } else {
      editor.setPrompt(partial || prompt)
    }
    editor.prompt(true)
    hidden = noecho?.test(partial) ?? false
    if (noprompt) partial = ''
  }

  const stream = new Duplex({
    allowHalfOpen: true,
    read() {},
    write(chunk: Buffer, _encoding, done) {
      show(decoder.write(chunk))
      if (output.writableNeedDrain) output.once('drain', done)
      else done()
    },
    destroy(error, done) {
      editor.close()
      output.off('resize', resized)
      let open = 2
      for (const part of [input, output]) {
        part.once('close', () => {
          open--
          if (open === 0) done(error)
        })
        part.destroy()
      }
    },
  })
  const wasHidden = () => {
    const was = hidden
    hidden = false
    if (was) screen.write('\r\n')
    return was
  }
  editor
    .on('history', lines => {
      if (hidden) lines.shift()
      history.splice(0, Infinity, ...lines)
    })
    .on('line', line => {
      wasHidden()
      partial = ''
      editor.setPrompt(prompt)
      if (prompt !== '') editor.prompt()
      stream.push(`${line}\n`)
    })
    .on('close', () => {
      if (!stream.destroyed) screen.write('\r\n')
      stream.push(null)
    })
    // In this mode the terminal makes no signals by itself.
    .on('SIGINT', () => process.kill(process.pid, 'SIGINT'))
  for (const part of [input, output]) part.on('error', error => stream.destroy(error))
  if (prompt !== '') editor.prompt()
  return stream
}

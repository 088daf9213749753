import { describe, expect, test } from 'vitest'
import { openKeys } from '#cli/serial/keys.ts'
import { enterAs, showEnds } from '#cli/serial/newlines.ts'

const commands = new Set(['.', '?', 'b'])
const tilde = 0x7e

/** What was typed in these pieces, sent bytes as text and commands in brackets. */
function typed(pieces: readonly string[], { sign }: { sign: number | undefined } = { sign: tilde }): string {
  const keys = openKeys(sign, commands)
  let text = ''
  for (const piece of pieces) {
    for (let left = Buffer.from(piece, 'latin1'); left.length > 0; ) {
      const { typed, rest } = keys.read(left)
      text += typed
        .map(each => ('send' in each ? each.send.toString('latin1') : `<${each.command}>`))
        .join('')
      left = rest as typeof left
    }
  }
  return text
}

describe('the escape character', () => {
  test.each([
    ['at the very beginning', '~.', '<.>'],
    ['after Enter', 'ls\r~b', 'ls\r<b>'],
    ['after a command', '~b~.', '<b><.>'],
    ['within a line it is a character', 'a~.', 'a~.'],
    ['twice it is itself, once', '~~.', '~.'],
    ['before what is no command it is what was typed', '~/x', '~/x'],
    ['and Enter behind it begins a line', '~\r~.', '~\r<.>'],
  ])('%s', (_, keys, meant) => {
    expect(typed([keys])).toBe(meant)
    expect(typed([...keys])).toBe(meant)
  })

  test('where there is none all is sent', () => {
    expect(typed(['~.\r~?'], { sign: undefined })).toBe('~.\r~?')
  })
})

describe('ends of lines', () => {
  test.each([
    ['cr', 'a\rb', 'a\rb'],
    ['lf', 'a\rb', 'a\nb'],
    ['crlf', 'a\rb', 'a\r\nb'],
  ] as const)('Enter sends %s', (end, keys, sent) => {
    expect(enterAs(end)(Buffer.from(keys)).toString()).toBe(sent)
  })

  test.each([
    ['as-is', 'a\nb\rc\r\nd', 'a\nb\rc\r\nd'],
    ['lf', 'a\nb\r\nc', 'a\r\nb\r\nc'],
    ['cr', 'a\rb\r\nc\r\rd', 'a\r\nb\r\nc\r\n\r\nd'],
  ] as const)('of a device that ends lines with %s', (end, said, shown) => {
    const whole = showEnds(end)
    expect(whole(Buffer.from(said)).toString()).toBe(shown)
    const pieces = showEnds(end)
    expect([...said].map(each => pieces(Buffer.from(each)).toString()).join('')).toBe(shown)
  })
})

import { type Address, addressError, shown } from '../address.ts'
import { readToken } from '../lexer.ts'

/** The words of a command line, or what is wrong with it. */
export type Words =
  | { readonly words: readonly string[] }
  | { readonly at: number; readonly why: string; readonly fix: string }

/**
 * Splits a command line as socat does, and no shell: at spaces, outside of quotes and brackets, whose quotes and
 * backslashes are solved for a second time after those of the address. A space at the end begins an empty word.
 */
export function splitCommandLine(text: string): Words {
  const words: string[] = []
  for (let at = 0; ; ) {
    const word = readToken(text, at, [' '])
    if (!('text' in word)) return word
    words.push(word.text)
    if (word.end === text.length) return { words }
    at = word.end
    while (text[at] === ' ') at++
  }
}

/** The command line of an address. Throws a RelayError `usage`. */
export function commandOf(address: Address): readonly [program: string, ...words: string[]] {
  const [text = ''] = address.args
  const refuse = (why: string, fix: string) => addressError(address.text, 0, { why, fix })
  if (address.args.length !== 1) {
    const fix = `Write a colon of the command line as \`\\:\`, or the whole of it in double quotes`
    throw refuse(`it has ${address.args.length} arguments instead of 1`, fix)
  }
  const split = splitCommandLine(text)
  if ('why' in split)
    throw refuse(`its command line \`${shown(text)}\`: ${split.why}`, withOneMore(split.fix))
  const [program = '', ...words] = split.words
  if (program === '') throw refuse('it names no program', 'Write e.g. `EXEC:/usr/bin/uptime`')
  return [program, ...words]
}

/** The quotes and backslashes of an address are solved before those of its command line. */
function withOneMore(fix: string): string {
  return `${fix} (in an address, write each backslash twice)`
}

/** The command line that `splitCommandLine` reads back as these words. */
export function joinCommandLine(words: readonly string[]): string {
  return words.map(writeWord).join(' ')
}

function writeWord(word: string): string {
  const bare = readToken(word, 0, [' '])
  if (word !== '' && 'text' in bare && bare.text === word && bare.end === word.length) return word
  return `"${word.replace(/["\\]/g, '\\$&')}"`
}

import { usage } from '../failure.ts'

const what = 'the command line of socat'

/** Characters that would make a shell do more than to split words. */
const active: Readonly<Record<string, string>> = {
  $: 'a variable or a command',
  '`': 'a command',
  '|': 'a pipe',
  ';': 'a second command',
  '<': 'a redirection',
  '>': 'a redirection',
}

/**
 * The words of a line as a shell would split it, with its quotes and backslashes solved. What only a shell could do is
 * refused, for nobody does it here. A last `&` and a `\` before the end of a line are as if they were not there.
 */
export function shellWords(line: string): string[] {
  const words: string[] = []
  const text = line.replace(/\s*&\s*$/, '')
  let word: string | undefined
  let quote = ''
  for (let at = 0; at < text.length; at++) {
    const char = text[at]!
    if (char === '\\' && quote !== "'") {
      const next = text[++at]
      if (next === undefined)
        throw usage(what, 'nothing follows its last backslash', 'Write `\\\\` for a backslash')
      if (next === '\n') continue
      // Inside double quotes a backslash stays unless it protects something.
      word = `${word ?? ''}${quote === '"' && !/["\\$`]/.test(next) ? `\\${next}` : next}`
    } else if (char === quote) {
      quote = ''
    } else if (quote !== '') {
      if (quote === '"' && /[$`]/.test(char)) throw needsShell(char)
      word += char
    } else if (char === "'" || char === '"') {
      quote = char
      word ??= ''
    } else if (/\s/.test(char)) {
      if (word !== undefined) words.push(word)
      word = undefined
    } else if (active[char] !== undefined || char === '&') {
      throw needsShell(char)
    } else {
      word = `${word ?? ''}${char}`
    }
  }
  if (quote !== '') throw usage(what, `a \`${quote}\` in it is never closed`, `Close it with \`${quote}\``)
  return word === undefined ? words : [...words, word]
}

function needsShell(char: string) {
  const meaning = active[char] ?? 'a second command'
  return usage(
    what,
    `\`${char}\` in it is ${meaning}, and no shell reads it`,
    `Write what it stands for, or \`\\${char}\` for the character itself`,
  )
}

import { flattened, goesUp } from './flattened.ts'
import { glob, isOpen, literalGlob } from './glob.ts'
import { joinCommandLine, splitCommandLine } from './programs/command-line.ts'

/** A command line with stars in it, word by word. */
export interface CommandPattern {
  readonly is: 'command-line'
  readonly words: readonly { readonly isOpen: boolean; matches(word: string): boolean }[]
  /** It ended in `**`: any further words are covered. */
  readonly more: boolean
}

/** What a star in a shell's command never stands for: it stays within one word, and begins nothing else. */
export const shellBounds = ' \t\n/;&|`$()<>"\'\\{}[]~#!*?='

/** Undefined where quotes are not closed or there is no program. */
export function readCommandPattern(text: string): CommandPattern | undefined {
  const split = splitCommandLine(text)
  if (!('words' in split) || split.words[0] === '') return undefined
  const more = split.words.at(-1) === '**'
  const words = more ? split.words.slice(0, -1) : split.words
  return {
    is: 'command-line',
    more,
    words: words.map(word => ({ isOpen: isOpen(word), matches: glob(word) })),
  }
}

/** The pattern of exactly this command line. */
export function commandPatternFor(commandLine: string): string {
  const split = splitCommandLine(commandLine)
  return joinCommandLine('words' in split ? split.words.map(literalGlob) : [])
}

/** A forbidden program is so whatever further words it is given. */
export function matchesCommand(
  { words, more }: CommandPattern,
  commandLine: string,
  sense: 'permit' | 'forbid',
): boolean {
  const split = splitCommandLine(commandLine)
  if (!('words' in split)) return sense === 'forbid'
  const asked = split.words
  if (sense === 'forbid') {
    const fits = (word: string, at: number) => {
      const { matches } = words[at]!
      return matches(word) || (word.startsWith('/') && matches(flattened(word)))
    }
    return asked.length >= words.length && asked.slice(0, words.length).every(fits)
  }
  if (more ? asked.length < words.length : asked.length !== words.length) return false
  return words.every(({ isOpen, matches }, at) => matches(asked[at]!) && (!isOpen || !goesUp(asked[at]!)))
}

import type { Command } from 'commander'
import { nearest } from '#relay/nearest.ts'
import { usage } from './failure.ts'

/** One of a few words; the shell completes them, and a wrong one is answered with the nearest. */
export function choice(command: Command, flags: string, summary: string, words: readonly string[]) {
  const option = command.createOption(flags, summary).choices([...words])
  option.argParser(text => {
    if (words.includes(text)) return text
    const near = nearest(text, words)
    const fix = near ? `Did you mean ${near}?` : `There are ${words.join(', ')}`
    throw usage(`${option.long} ${text}`, 'there is no such word here', fix)
  })
  return option
}

/** The text is kept: it is what the setting is written as. */
export function checked(check: (text: string) => void) {
  return (text: string) => {
    check(text)
    return text
  }
}

/** A whole number above 0; what the wire can carry, if nothing is said about how much. */
export function count(option: string, most = 0xffff_ffff) {
  return (text: string) => {
    const n = Number(text)
    if (!/^\d+$/.test(text) || n < 1) throw usage(`${option} ${text}`, 'it is not a whole number above 0')
    if (n > most) throw usage(`${option} ${text}`, `the highest is ${most}`)
    return n
  }
}

/** A regular expression; what is wrong with it is known before anybody is asked. */
export function patternOf(option: string) {
  return (text: string) => {
    try {
      return new RegExp(text, 'u')
    } catch (thrown) {
      throw usage(`${option} ${text}`, (thrown as Error).message, 'Write for example `panic|Oops`')
    }
  }
}

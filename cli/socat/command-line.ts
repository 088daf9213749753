import { usage } from '../failure.ts'
import { type SocatOption, socatOptions, unknownOption } from './options.ts'
import { defaultSettings, type SocatSettings } from './settings.ts'

/** Socat's command line, read. */
export interface CommandLine {
  readonly settings: SocatSettings
  /** The options that were given, each once, in their order. */
  readonly given: readonly SocatOption[]
  readonly addresses: readonly string[]
}

/**
 * Reads the words behind `socat`. Throws a RelayError `usage` about an option. `addresses` are what follows the options;
 * how many there are is for the caller to judge.
 */
export function readCommandLine(words: readonly string[], env?: NodeJS.ProcessEnv): CommandLine {
  const settings = defaultSettings(env)
  const given = new Set<SocatOption>()
  let at = 0
  for (; at < words.length; at++) {
    const word = words[at]!
    if (!word.startsWith('-') || isAddress(word)) break
    const [option, attached] = optionOf(word)
    let value = attached
    if (option.value === 'needed' && attached === '') {
      value = words[++at] ?? ''
      if (value === '') throw usage(`option "${word}" requires an argument; use option "-h" for help`, '')
    }
    option.set(settings, value)
    given.add(option)
  }
  return { settings, given: [...given], addresses: words.slice(at) }
}

/** STDIO is written `-` for short, and may have options or another half behind it. */
const isAddress = (word: string) => /^-(,|!!|$)/.test(word)

function optionOf(word: string): [option: SocatOption, value: string] {
  const name = word.slice(1)
  const found =
    socatOptions.find(option => option.name === name) ??
    socatOptions.find(option => option.value && name.startsWith(option.name))
  if (found) return [found, name.slice(found.name.length)]
  if (name.startsWith('l')) throw usage(`unknown log option "${word}"; use option "-h" for help`, '')
  throw unknownOption(word)
}

import { type Pattern, parsePattern, type Sense } from '#relay/pattern.ts'

/** One line of the ceiling, and where its owner wrote it: a refusal names both. */
export interface Rule {
  readonly text: string
  readonly pattern: Pattern
  /** `agent.yaml:4`, `--permit`, `the built-in default`. */
  readonly from: string
}

export interface Rules {
  readonly permit: readonly Rule[]
  readonly forbid: readonly Rule[]
}

export const builtIn = 'the built-in default'

/** Throws a RelayError `usage` that says what is wrong with the pattern. */
export function rule(text: string, from: string, sense: Sense = 'permit'): Rule {
  return { text, pattern: parsePattern(text, sense), from }
}

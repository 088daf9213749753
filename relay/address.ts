/** `name[=value]` of an address. */
export interface Option {
  /** As typed, in lower case; aliases are resolved by whoever reads it (options.ts). */
  readonly name: string
  /** Unquoted. Absent for `name`, empty for `name=`. */
  readonly value?: string
  /** Where the name starts in the address's text, counted from 0. */
  readonly at: number
}

/** One end of a relay, as written: `KEYWORD[:arg…][,option[=value]]…`. */
export interface Address {
  /** In upper case, as typed; aliases are resolved by the table. */
  readonly keyword: string
  /** Unquoted. */
  readonly args: readonly string[]
  readonly options: readonly Option[]
  /** The agent of `@AGENT/ADDRESS`: the rest of the address is opened there, through a tunnel. */
  readonly host?: string
  readonly text: string
}

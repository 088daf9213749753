/** What a program says on its standard error, line by line. */
export interface ProgramWords {
  readonly line: string
  /** The program's address, as the ceiling sees it. */
  readonly program: string
  /** Whom it serves, if anybody. */
  readonly client: string | undefined
}

/** What this process lets the programs have that it starts for relays. */
export interface ProgramPolicy {
  /**
   * `confined`: an environment of its own, a session of its own, no privileges and none to gain; it is refused where that
   * cannot be had. `own`: as socat starts it, with all that whoever runs this process has.
   */
  readonly rights: 'confined' | 'own'
  /** What the variables begin with that programs are told by, beside FLEETCAT; SOCAT if absent. */
  readonly prefix?: string
  /** Of fleetcat, as programs are told it. */
  readonly version?: string
  /** Told what confined programs say on their standard error. Those of `own` rights write to ours. */
  readonly said?: (words: ProgramWords) => void
}

/** For whoever does not say otherwise. */
export const defaultPolicy: ProgramPolicy = { rights: 'confined' }

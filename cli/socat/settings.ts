/** How much is said: the most that `-d` asks for, as the letters of socat's messages. */
export const levels = ['F', 'E', 'W', 'N', 'I', 'D'] as const

export type Level = (typeof levels)[number]

export type Log =
  | { readonly to: 'stderr' }
  | { readonly to: 'file'; readonly path: string }
  | { readonly to: 'syslog'; readonly facility: string }
  /** On stderr until all is open, then in the system's log. */
  | { readonly to: 'mixed'; readonly facility: string }

/** What socat's options ask for. */
export interface SocatSettings {
  asks?: 'version' | 'help' | 'help-options' | 'help-all'
  level: Level
  log: Log
  programName: string
  microseconds: boolean
  hostname: boolean
  descriptors: boolean
  dumpText: boolean
  dumpHex: boolean
  rawForward?: string
  rawBackward?: string
  bufferBytes?: number
  sloppy: boolean
  halfCloseMs: number
  idleMs?: number
  direction?: 'forward' | 'backward'
  lock?: { readonly path: string; readonly wait: boolean }
  ipVersion?: 4 | 6
}

/** What holds without any option. */
export function defaultSettings(): SocatSettings {
  return {
    level: 'E',
    log: { to: 'stderr' },
    programName: 'socat',
    microseconds: false,
    hostname: false,
    descriptors: false,
    dumpText: false,
    dumpHex: false,
    sloppy: false,
    halfCloseMs: 500,
  }
}

/** The next level that one more `-d` brings. */
export function wordier(level: Level): Level {
  return levels[Math.min(levels.indexOf(level) + 1, levels.length - 1)]!
}

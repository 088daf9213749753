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
  /** Where an address does not say it. */
  ipVersion?: 4 | 6
  /** The same for listeners, and for names, as the environment has it. */
  listenVersion?: 4 | 6
  lookupVersion?: 4 | 6
}

/** What holds without any option. */
export function defaultSettings(env: NodeJS.ProcessEnv = {}): SocatSettings {
  const listenVersion = version(env.SOCAT_DEFAULT_LISTEN_IP)
  const lookupVersion = version(env.SOCAT_PREFERRED_RESOLVE_IP)
  return {
    ...(listenVersion && { listenVersion }),
    ...(lookupVersion && { lookupVersion }),
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

const version = (text: string | undefined) => (text === '4' ? 4 : text === '6' ? 6 : undefined)

/** The next level that one more `-d` brings. */
export function wordier(level: Level): Level {
  return levels[Math.min(levels.indexOf(level) + 1, levels.length - 1)]!
}

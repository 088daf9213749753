import { homedir } from 'node:os'
import { join, resolve } from 'node:path'

/** Where this user's contexts live, and by default the data of what they start. */
export function fleetcatHome(): string {
  const given = process.env.FLEETCAT_HOME
  return given ? resolve(given) : join(homedir(), '.config', 'fleetcat')
}

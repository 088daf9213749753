import { Balance, type HealthCheck, type RelaySpec } from '#gen/fleetcat/v1/relay.ts'
import { RelayError } from '#relay/errors.ts'
import { toMilliseconds } from './duration.ts'

/** How a relay's targets share its connections. */
export type Sharing = Pick<RelaySpec, 'balance' | 'health'>

/** Something wrong, and the keys of the setting that it is wrong with. */
export interface SharingMistake {
  readonly path: readonly string[]
  readonly why: string
  readonly fix: string
}

const shortestMs = 100
const longestMs = 86_400_000
const mostInARow = 100
const longestPath = 1_024

/** What makes no sense in these settings. Whether a target can be checked at all is the table's to judge. */
export function sharingMistakes({ balance, health }: Sharing): SharingMistake[] {
  const known = Object.values(Balance).includes(balance)
  const fix = 'Write failover, round-robin, least-connections or source-hash'
  const found = known ? [] : [{ path: ['balance'], why: 'there is no such way to choose a target', fix }]
  return health ? [...found, ...healthMistakes(health)] : found
}

function healthMistakes({ http, interval, timeout, rise, fall }: HealthCheck): SharingMistake[] {
  const found: SharingMistake[] = []
  const wrong = (when: boolean, key: string, why: string, fix: string) => {
    if (when) found.push({ path: ['health', key], why, fix })
  }
  wrong(
    http !== '' && !/^\/[\x21-\x7e]*$/.test(http),
    'check',
    'its path does not begin with / or has characters that no path of HTTP has',
    'Write for example http:/healthz; other characters as %20',
  )
  wrong(http.length > longestPath, 'check', `its path is longer than ${longestPath} characters`, 'Shorten it')
  for (const [key, duration] of Object.entries({ interval, timeout })) {
    const ms = duration && toMilliseconds(duration)
    wrong(ms !== undefined && !(ms >= shortestMs), key, 'it is shorter than 100ms', 'Write at least 100ms')
    wrong(ms !== undefined && ms > longestMs, key, 'it is longer than a day', 'Write at most 1d')
  }
  for (const [key, count] of Object.entries({ rise, fall })) {
    wrong(count > mostInARow, key, `${count} checks in a row are more than ${mostInARow}`, 'Write fewer')
  }
  return found
}

/** Throws a RelayError `usage` at the first mistake. `what` is the relay. */
export function checkSharing(what: string, sharing: Sharing): void {
  const [mistake] = sharingMistakes(sharing)
  if (!mistake) return
  const { path, why, fix } = mistake
  throw new RelayError('usage', { what: `${path.join('-')} of ${what}`, why, fix })
}

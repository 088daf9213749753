import { hostname, loadavg, uptime } from 'node:os'

/** What a host says of itself when it is asked how it is. */
export interface HostStatus {
  readonly host: string
  readonly time: string
  /** Seconds since the host was started. */
  readonly uptime: number
  /** Processes that wanted to run, on average, in the last 1, 5 and 15 minutes. */
  readonly load: readonly number[]
}

export function hostStatus(): HostStatus {
  return {
    host: hostname(),
    time: new Date().toISOString(),
    uptime: Math.floor(uptime()),
    load: loadavg().map(average => Math.round(average * 100) / 100),
  }
}

/** A line each, for people and for `grep`. */
export function hostStatusText(): string {
  const { host, time, uptime, load } = hostStatus()
  return `host: ${host}\ntime: ${time}\nuptime: ${uptime}\nload: ${load.join(' ')}\n`
}

import type { Relay } from '#gen/fleetcat/v1/relay.ts'
import type { Logger } from '#telemetry/log.ts'
import { limitMs } from '#wire/duration.ts'
import { controllerActor } from './actor.ts'
import type { Commit } from './commit.ts'
import type { Mirror } from './mirror.ts'
import type { Tables } from './tables.ts'

/** When a relay that is given its time now ends, if ever. */
export function expiryFromNow({ spec }: Pick<Relay, 'spec'>): Date | undefined {
  const ttlMs = limitMs(spec?.ttl)
  return ttlMs === undefined ? undefined : new Date(Date.now() + ttlMs)
}

/** How many milliseconds it has left; nothing if it never ends. */
export function timeLeft({ expiresAt, expiredAt }: Relay): number | undefined {
  if (expiredAt) return 0
  return expiresAt && Math.max(0, expiresAt.getTime() - Date.now())
}

interface Parts {
  readonly commit: Commit
  readonly tables: Tables
  readonly mirror: Mirror
  readonly log: Logger
}

/** A clock may be set at any time, and a write that failed is tried again by then. */
const lookMs = 10_000

/**
 * Writes it down when the time of a relay is over, so that no clock and no restart brings it back. Its agents do not
 * wait for that: each counts by itself.
 */
export function openExpiry({ commit, tables, mirror, log }: Parts): AsyncDisposable {
  let timer: NodeJS.Timeout | undefined
  let marking: Promise<void> = Promise.resolve()
  let isBusy = false
  let closed = false

  const running = () =>
    [...mirror.relays.values()].filter(({ value }) => value.expiresAt !== undefined && !value.expiredAt)

  async function mark(): Promise<void> {
    for (const { value, modRev } of running()) {
      if (timeLeft(value) !== 0) continue
      const { name, id } = value
      const over: Relay = { ...value, expiredAt: new Date() }
      // Whoever has changed it in between may have given it more time.
      await commit([tables.relays.at(name, modRev)], [tables.relays.put(name, over)], {
        by: controllerActor,
        event: 'relay.expired',
        target: `relay/${name}`,
        fields: { relay: name, id, expiresAt: value.expiresAt },
        words: 'relay expired',
      })
    }
  }

  function look(): void {
    isBusy = true
    marking = mark().then(
      () => arm(0),
      error => {
        log.warn({ event: 'expiry.failed', error }, 'that a relay has expired is not on disk yet')
        arm(lookMs)
      },
    )
  }

  function arm(least: number): void {
    clearTimeout(timer)
    isBusy = false
    if (closed) return
    const next = running().reduce(
      (soonest, { value }) => Math.min(soonest, timeLeft(value) ?? soonest),
      Infinity,
    )
    if (next !== Infinity) timer = setTimeout(look, Math.max(least, Math.min(next, lookMs)))
  }

  const stop = mirror.onChange(({ everything, relayIds }) => {
    if (!isBusy && (everything || relayIds.length > 0)) arm(0)
  })
  arm(0)

  return {
    async [Symbol.asyncDispose]() {
      closed = true
      stop()
      clearTimeout(timer)
      // A mirror that has failed shows no write any more.
      await Promise.race([marking, mirror.failed.catch(() => {})])
    },
  }
}

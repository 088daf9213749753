import { Balance as BalanceMessage, type HealthCheck as HealthMessage } from '#gen/fleetcat/v1/relay.ts'
import type { Balance } from '#relay/targets/balance.ts'
import { type HealthCheck, healthDefaults } from '#relay/targets/health-check.ts'
import type { Sharing } from '#relay/targets/targets.ts'
import { limitMs } from '#wire/duration.ts'
import { checkSharing, type Sharing as SharingMessage } from '#wire/sharing.ts'

/** How the targets share the connections, in the engine's words. Throws a RelayError when it makes no sense. */
export function toSharing(what: string, sharing: SharingMessage): Sharing {
  checkSharing(what, sharing)
  const { balance, health } = sharing
  return { balance: balances[balance] ?? 'failover', ...(health && { health: toHealth(health) }) }
}

const balances: Record<number, Balance> = {
  [BalanceMessage.ROUND_ROBIN]: 'round-robin',
  [BalanceMessage.LEAST_CONNECTIONS]: 'least-connections',
  [BalanceMessage.SOURCE_HASH]: 'source-hash',
}

function toHealth({ http, interval, timeout, rise, fall }: HealthMessage): HealthCheck {
  return {
    ...(http && { http }),
    intervalMs: limitMs(interval) ?? healthDefaults.intervalMs,
    timeoutMs: limitMs(timeout) ?? healthDefaults.timeoutMs,
    rise: rise || healthDefaults.rise,
    fall: fall || healthDefaults.fall,
  }
}

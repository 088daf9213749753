import { z } from 'zod'
import type { Sharing } from '#wire/sharing.ts'
import { balances, type HealthItem, type SharingItem, toSharing } from './views/sharing.ts'

/** Health checks as a file writes them. */
export const healthSchema = z.strictObject({
  check: z.string().default('connect'),
  interval: z.string().optional(),
  timeout: z.string().optional(),
  rise: z.number().int().positive().max(100).optional(),
  fall: z.number().int().positive().max(100).optional(),
})

/** The keys of a relay's spec that say how its targets share the connections. */
export const sharingShape = {
  balance: z.enum(balances).optional(),
  health: healthSchema.optional(),
}

const sharing = z.object(sharingShape)

/** What a file says, without the keys that are there for nothing. */
export function sharingGiven({ balance, health }: z.infer<typeof sharing>): SharingItem {
  const set = Object.entries(health ?? {}).filter(([, value]) => value !== undefined)
  return {
    ...(balance && { balance }),
    ...(health && { health: Object.fromEntries(set) as unknown as HealthItem }),
  }
}

/** The settings of a spec whose shapes and durations are right; nothing when one of them is not. */
export function sharingOfSpec(spec: unknown): Sharing | undefined {
  const parsed = sharing.safeParse(spec)
  try {
    return parsed.success ? toSharing(sharingGiven(parsed.data)) : undefined
  } catch {
    return undefined
  }
}

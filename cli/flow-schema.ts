import { z } from 'zod'
import type { Flow } from '#wire/flow.ts'
import { directions, dumpFormats, type FlowItem, toFlow } from './views/flow.ts'

/** A dump as a file writes it. */
export const dumpSchema = z.strictObject({
  format: z.enum(dumpFormats),
  file: z.string().optional(),
  rotate: z.string().optional(),
  keep: z.number().int().positive().max(1_000).optional(),
})

/** The keys of a relay's spec that say what happens to the bytes on their way. */
export const flowShape = {
  unidirectional: z.enum(directions).optional(),
  timestamp: z.boolean().optional(),
  throttle: z.string().optional(),
  tee: z.array(z.string()).optional(),
  dump: dumpSchema.optional(),
}

const flow = z.object(flowShape)

export type FlowDocument = z.infer<typeof flow>

export function flowGiven({ dump, ...rest }: FlowDocument): FlowItem {
  return { ...given(rest), ...(dump && { dump: given(dump) as NonNullable<FlowItem['dump']> }) }
}

/** The settings of a spec whose shapes and sizes are right; nothing when one of them is not. */
export function flowOfSpec(spec: unknown): Flow | undefined {
  const parsed = flow.safeParse(spec)
  try {
    return parsed.success ? toFlow(flowGiven(parsed.data)) : undefined
  } catch {
    return undefined
  }
}

type Given<T> = { [K in keyof T]?: Exclude<T[K], undefined> }

/** Without the keys that are there for nothing. */
export const given = <T extends object>(values: T) =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Given<T>

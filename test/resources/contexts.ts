import { openEgress } from '#relay/egress.ts'
import type { OpenContext } from '#relay/endpoint.ts'

/** What a test opens endpoints with: nothing is forbidden but what always is, and nobody calls it off. */
export function openContext(parts: Partial<OpenContext> = {}): OpenContext {
  return { signal: new AbortController().signal, egress: openEgress, ...parts }
}

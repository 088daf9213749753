import { apiVersion } from '../output/print.ts'
import type { RelayItem } from './relay.ts'

/** What a person would have written: nothing that is empty, nothing that the fleet reports. */
export function asFile({ metadata, spec }: RelayItem) {
  const { name, labels, reason } = metadata
  const { listen, targets, agents, selector, limits, ...settings } = spec
  return {
    apiVersion,
    kind: 'Relay',
    metadata: { name, ...(Object.keys(labels).length > 0 && { labels }), ...(reason && { reason }) },
    spec: {
      listen,
      targets,
      ...(agents.length > 0 && { agents }),
      ...(selector && { selector }),
      ...(Object.keys(limits).length > 0 && { limits }),
      ...settings,
    },
  }
}

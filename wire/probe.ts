/**
 * How long one look at a target may take. What addresses give up after by themselves, ten seconds, is the most: a probe
 * that waited longer would not be the one to say so.
 */
export const shortestProbeMs = 10
export const longestProbeMs = 10_000

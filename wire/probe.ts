/** How long one look at a target may take. Addresses wait no longer than the longest either, unless they say so. */
export const shortestProbeMs = 10
export const longestProbeMs = 10_000

/** From this host, a controller that listens everywhere answers on loopback too. */
export function reachable(listening: string): string {
  return listening.replace(/^(0\.0\.0\.0|\[::\])(?=:\d+$)/, any => (any === '[::]' ? '[::1]' : '127.0.0.1'))
}

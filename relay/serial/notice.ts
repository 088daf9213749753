/** What fleetcat says among the bytes of a line. Names in it may be a peer's, who shall not command a terminal. */
export function notice(text: string): string {
  return `[fleetcat: ${text.replace(/\p{C}/gu, '')}]`
}

/** `127.0.0.1:80` as socat writes it: `AF=2 127.0.0.1:80`. */
export function socketName(text: string): string {
  if (/^\d+\.\d+\.\d+\.\d+:\d+$/.test(text)) return `AF=2 ${text}`
  if (/^\[[0-9a-f:.]+\]:\d+$/i.test(text)) return `AF=10 ${text}`
  const path = /^(\/.*?)(#\d+)?$/.exec(text)?.[1]
  return path === undefined ? text : `AF=1 "${path}"`
}

/** Is it something that one listens on, and not an address that connects? */
export const isPlace = (local: string) => /^[[/\d]/.test(local)
